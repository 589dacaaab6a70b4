package main

import (
	"os"
	"regexp"
	"strings"
)

// A document is a Markdown file.
type document struct {
	name   string // relative to the root of the repository
	text   string
	lines  []line
	blocks []block
}

// A line is a line outside of code blocks, with its number.
type line struct {
	number int
	text   string
}

// A block is a fenced block of code.
type block struct {
	kind string // the text after the fence
	line int    // the number of its first line
	text string
}

func load(path string) (document, error) {
	text, err := os.ReadFile(path)
	return parse(path, string(text)), err
}

func parse(name, text string) document {
	d := document{name: name, text: text}
	var open *block
	for i, s := range strings.Split(text, "\n") {
		fence, isFence := strings.CutPrefix(strings.TrimLeft(s, " "), "```")
		switch {
		case isFence && open == nil:
			open = &block{kind: strings.TrimSpace(fence), line: i + 2}
		case isFence:
			d.blocks, open = append(d.blocks, *open), nil
		case open != nil:
			open.text += s + "\n"
		default:
			d.lines = append(d.lines, line{i + 1, s})
		}
	}
	if open != nil { // as Markdown has it, it ends with the document
		d.blocks = append(d.blocks, *open)
	}
	return d
}

// program reports whether the block is a whole Go program.
func (b block) program() bool {
	return b.kind == "go" && clause.MatchString(b.text)
}

var clause = regexp.MustCompile(`(?m)^package `)

// anchors returns the fragments by which a link may name a heading of the document, as GitHub
// makes them.
func (d document) anchors() map[string]bool {
	found := map[string]bool{}
	for _, l := range d.lines {
		if m := heading.FindStringSubmatch(l.text); m != nil {
			found[anchor(m[1])] = true
		}
	}
	return found
}

var heading = regexp.MustCompile(`^#{1,6} +(.*?) *$`)

// anchor keeps letters, digits, hyphens and underscores, in lower case, and makes each space a
// hyphen.
func anchor(title string) string {
	title = strings.ReplaceAll(strings.ToLower(title), " ", "-")
	return notInAnchor.ReplaceAllString(title, "")
}

var notInAnchor = regexp.MustCompile(`[^\p{L}\p{N}_-]`)

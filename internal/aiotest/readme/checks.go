package main

import (
	"fmt"
	"go/format"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of the front document, and the width of a line of any document.
const (
	maxLines   = 130
	maxWords   = 1000
	maxColumns = 100
)

// A repository is the tree that the documents are compared with.
type repository struct {
	root      string
	files     map[string]bool   // by path
	dirs      map[string]bool   // directories with files, by path
	sources   map[string]string // text of the Go files, by path
	functions map[string]bool   // tests, fuzz tests and benchmarks
	methods   int               // of *os.File
	goVersion string            // the Go that go.mod requires, without its patch
	documents []document
	found     map[string]int // how often a check found something to check
}

func open(root string) (*repository, error) {
	r := &repository{
		root:      root,
		files:     map[string]bool{},
		dirs:      map[string]bool{".": true},
		sources:   map[string]string{},
		functions: map[string]bool{},
		methods:   reflect.TypeFor[*os.File]().NumMethod(),
		found:     map[string]int{},
	}
	version, err := goVersion(root)
	if err != nil {
		return nil, err
	}
	r.goVersion = version
	names, err := documents(root)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return nil, err
		}
		r.documents = append(r.documents, parse(name, string(text)))
	}
	// What is committed, and what will be.
	list, err := exec.Command("git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		return nil, fmt.Errorf("git ls-files: %w", err)
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(list), "\x00"), "\x00") {
		if err := r.add(name); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *repository) add(name string) error {
	r.files[name] = true
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		r.dirs[dir] = true
	}
	if path.Ext(name) != ".go" {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(r.root, name))
	if os.IsNotExist(err) {
		return nil // removed, and not committed yet
	}
	r.sources[name] = string(text)
	if strings.HasSuffix(name, "_test.go") {
		for _, m := range function.FindAllStringSubmatch(string(text), -1) {
			r.functions[m[1]] = true
		}
	}
	return err
}

var function = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w*)\(`)

// A check returns the problems of a document.
type check func(*repository, document) []string

// checks maps the name of a finding to its check.
var checks = map[string]check{
	"lengths":  (*repository).length,
	"lines":    (*repository).width,
	"snippets": (*repository).snippets,
	"tests":    (*repository).tests,
	"links":    (*repository).links,
	"paths":    (*repository).paths,
	"commands": (*repository).commands,
	"methods":  (*repository).numbers,
	"versions": (*repository).versions,
}

// problems runs all checks on all documents.
func (r *repository) problems() []string {
	var all []string
	for _, d := range r.documents {
		for _, check := range checks {
			all = append(all, check(r, d)...)
		}
	}
	slices.Sort(all)
	return all
}

// counted lists the numbers of things checked.
func (r *repository) counted() string {
	var parts []string
	for what, n := range r.found {
		parts = append(parts, fmt.Sprintf("%d %s", n, what))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// at returns a problem of a line.
func at(d document, line int, text string, args ...any) string {
	return fmt.Sprintf("%s:%d: %s", d.name, line, fmt.Sprintf(text, args...))
}

// length checks the limits of the front document, and that it states the number of methods and the
// Go version.
func (r *repository) length(d document) (wrong []string) {
	if d.name != front {
		return nil
	}
	if n := strings.Count(d.text, "\n"); n > maxLines {
		wrong = append(wrong, at(d, n, "%d lines, of %d that it may have", n, maxLines))
	}
	if n := len(strings.Fields(d.text)); n > maxWords {
		wrong = append(wrong, at(d, 1, "%d words, of %d that it may have", n, maxWords))
	}
	if !methods.MatchString(d.text) {
		wrong = append(wrong, at(d, 1, "does not say how many methods there are"))
	}
	if !versions.MatchString(d.text) {
		wrong = append(wrong, at(d, 1, "does not say which Go it takes"))
	}
	return wrong
}

// width checks the width of lines outside of tables.
func (r *repository) width(d document) (wrong []string) {
	for i, s := range strings.Split(d.text, "\n") {
		r.found["lines"]++
		// Most editors show a tab 4 columns wide.
		n := utf8.RuneCountInString(strings.ReplaceAll(s, "\t", "    "))
		if n > maxColumns && !strings.HasPrefix(s, "|") {
			wrong = append(wrong, at(d, i+1, "%d columns, of %d that a line may have", n, maxColumns))
		}
	}
	return wrong
}

// snippets checks that Go code is formatted, and that a snippet which is no whole program is in a
// compiled file. The front document has whole programs only.
func (r *repository) snippets(d document) (wrong []string) {
	for _, b := range d.blocks {
		if b.kind != "go" {
			continue
		}
		r.found["snippets"]++
		formatted, err := format.Source([]byte(b.text))
		if err != nil {
			wrong = append(wrong, at(d, b.line, "%v", err))
		} else if string(formatted) != b.text {
			wrong = append(wrong, at(d, b.line, "not as gofmt has it"))
		}
		switch {
		case b.program():
		case d.name == front:
			wrong = append(wrong, at(d, b.line, "not a whole program"))
		case !r.contain(b.text):
			wrong = append(wrong, at(d, b.line, "no file has this snippet"))
		}
	}
	return wrong
}

// contain reports whether a Go file contains the snippet, at any indentation.
func (r *repository) contain(snippet string) bool {
	snippet = flat(snippet)
	for _, source := range r.sources {
		if strings.Contains(flat(source), snippet) {
			return true
		}
	}
	return false
}

// flat removes the indentation.
func flat(source string) string {
	var b strings.Builder
	for line := range strings.Lines(source) {
		b.WriteString(strings.TrimLeft(line, " \t"))
	}
	return b.String()
}

// tests checks that the tests, fuzz tests and benchmarks named as code in a document exist.
func (r *repository) tests(d document) (wrong []string) {
	for _, c := range d.code() {
		for _, name := range testName.FindAllString(c.text, -1) {
			r.found["tests"]++
			if !r.functions[name] {
				wrong = append(wrong, at(d, c.number, "there is no %s", name))
			}
		}
	}
	return wrong
}

var testName = regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z]\w*`)

// code returns the code spans of a document, and the lines of its blocks that are not Go.
func (d document) code() (found []line) {
	for _, l := range d.lines {
		for _, m := range span.FindAllStringSubmatch(l.text, -1) {
			found = append(found, line{l.number, m[1]})
		}
	}
	for _, b := range d.blocks {
		if b.kind == "go" {
			continue
		}
		for i, s := range strings.Split(b.text, "\n") {
			found = append(found, line{b.line + i, s})
		}
	}
	return found
}

var span = regexp.MustCompile("`([^`]+)`")

// links holds that linked files, and the headings in them, exist.
func (r *repository) links(d document) (wrong []string) {
	defined := map[string]bool{}
	for _, l := range d.lines {
		if m := definition.FindStringSubmatch(l.text); m != nil {
			defined[m[1]] = true
		}
	}
	for _, l := range d.lines {
		text := span.ReplaceAllString(l.text, "")
		targets := target.FindAllStringSubmatch(text, -1)
		if m := definition.FindStringSubmatch(text); m != nil {
			targets = append(targets, []string{"", m[2]})
		}
		for _, m := range targets {
			r.found["links"]++
			if problem := r.link(d, m[1]); problem != "" {
				wrong = append(wrong, at(d, l.number, "%s: %s", m[1], problem))
			}
		}
		for _, m := range reference.FindAllStringSubmatch(text, -1) {
			if !defined[m[1]] {
				wrong = append(wrong, at(d, l.number, "[%s] is not defined", m[1]))
			}
		}
	}
	return wrong
}

var (
	target     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	definition = regexp.MustCompile(`^\[([^\]]+)\]: (\S+)`)
	reference  = regexp.MustCompile(`\]\[([^\]]+)\]`)
)

// link returns the problem of a link of a document, or nothing.
func (r *repository) link(d document, to string) string {
	if strings.Contains(to, "://") || strings.HasPrefix(to, "mailto:") {
		return "" // not in the repository
	}
	file, fragment, hasFragment := strings.Cut(to, "#")
	name := d.name
	if file != "" {
		name = path.Join(path.Dir(d.name), file)
	}
	if !r.files[name] && !r.dirs[name] {
		return "no such file"
	}
	if !hasFragment {
		return ""
	}
	for _, other := range r.documents {
		if other.name == name {
			if !other.anchors()[fragment] {
				return "no such heading"
			}
			return ""
		}
	}
	return "not a document with headings"
}

// paths holds that files and directories exist that stand alone in a code span. A name without
// a directory may be that of a file in any.
func (r *repository) paths(d document) (wrong []string) {
	for _, c := range d.code() {
		name := strings.TrimSuffix(c.text, "/")
		first, _, nested := strings.Cut(name, "/")
		switch {
		case !pathName.MatchString(name):
			continue
		case nested && r.dirs[first]:
			if r.found["paths"]++; r.files[name] || r.dirs[name] {
				continue
			}
		case !nested && path.Ext(name) == ".go":
			if r.found["paths"]++; r.has(name) {
				continue
			}
		default:
			continue // a package of Go, or of another module
		}
		wrong = append(wrong, at(d, c.number, "there is no %s", c.text))
	}
	return wrong
}

var pathName = regexp.MustCompile(`^[\w./-]+$`)

// has reports whether a directory has a file of this name.
func (r *repository) has(base string) bool {
	for name := range r.files {
		if path.Base(name) == base {
			return true
		}
	}
	return false
}

// commands holds that the directories, packages and flags exist that the go commands of a
// document name.
func (r *repository) commands(d document) (wrong []string) {
	for _, c := range d.code() {
		command, _, _ := strings.Cut(c.text, "|")
		args := strings.Fields(command)
		if len(args) < 2 || args[0] != "go" {
			continue
		}
		r.found["commands"]++
		if problem := r.command(args[1:]); problem != "" {
			wrong = append(wrong, at(d, c.number, "%s: %s", c.text, problem))
		}
	}
	return wrong
}

// command returns the problem of the arguments of a go command, or nothing.
func (r *repository) command(args []string) string {
	dir := "."
	if args[0] == "-C" && len(args) > 2 {
		dir, args = path.Clean(args[1]), args[2:]
		if !r.dirs[dir] {
			return "there is no " + dir
		}
	}
	run, flags := "", false
	for _, arg := range args[1:] {
		switch {
		case run != "" && strings.HasPrefix(arg, "-"):
			flags = true
			if name := strings.TrimLeft(arg, "-"); !r.flag(run, name) {
				return run + " has no flag " + arg
			}
		case arg == "." || strings.HasPrefix(arg, "./"):
			p := path.Join(dir, strings.TrimSuffix(arg, "..."))
			if flags {
				continue // the value of a flag
			}
			if !r.dirs[p] {
				return "there is no " + p
			}
			if args[0] == "run" {
				run = p
			}
		}
	}
	return ""
}

// flag reports whether a command defines a flag, itself or by a package of internal/aiotest.
func (r *repository) flag(command, name string) bool {
	literal := strconv.Quote(name)
	for file, text := range r.sources {
		dir := path.Dir(file)
		if dir == command || strings.HasPrefix(dir, "internal/aiotest") && !strings.Contains(text, "package main") {
			if strings.Contains(text, literal) {
				return true
			}
		}
	}
	return false
}

// numbers checks each number of methods against reflection.
func (r *repository) numbers(d document) (wrong []string) {
	for _, l := range d.lines {
		for _, m := range methods.FindAllStringSubmatch(l.text, -1) {
			r.found["numbers of methods"]++
			if m[1] != strconv.Itoa(r.methods) {
				wrong = append(wrong, at(d, l.number, "%s methods; os.File has %d", m[1], r.methods))
			}
		}
	}
	return wrong
}

var methods = regexp.MustCompile(`\b(\d+) methods\b`)

// versions holds that the Go that a document asks for is that of go.mod.
func (r *repository) versions(d document) (wrong []string) {
	for _, l := range d.lines {
		for _, m := range versions.FindAllStringSubmatch(l.text, -1) {
			r.found["versions of Go"]++
			if m[1] != r.goVersion {
				wrong = append(wrong, at(d, l.number, "Go %s; go.mod requires %s", m[1], r.goVersion))
			}
		}
	}
	return wrong
}

var versions = regexp.MustCompile(`\bGo (\d+\.\d+) or later`)

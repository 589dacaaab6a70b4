// Package mdtable puts the tables of the trials into the project's documents.
package mdtable

import (
	"fmt"
	"os"
	"regexp"
	"strings"
)

// A Place is the text between two marker lines of a document. Name is in the markers.
type Place struct{ File, Name string }

func (p Place) lines() (begin, end string) {
	return fmt.Sprintf("<!-- %s: begin -->\n", p.Name), fmt.Sprintf("<!-- %s: end -->\n", p.Name)
}

// split cuts the document at its place.
func (p Place) split() (before, content, after string, err error) {
	text, err := os.ReadFile(p.File)
	if err != nil {
		return "", "", "", err
	}
	begin, end := p.lines()
	before, rest, ok := strings.Cut(string(text), begin)
	content, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return "", "", "", fmt.Errorf("%s: no lines %q and %q", p.File, begin, end)
	}
	return before, content, after, nil
}

// Write replaces the text of the place.
func (p Place) Write(content string) error {
	before, _, after, err := p.split()
	if err != nil {
		return err
	}
	begin, end := p.lines()
	return os.WriteFile(p.File, []byte(before+begin+content+end+after), 0o644)
}

// Check fails unless the place contains content. It ignores the parts that match but.
func (p Place) Check(content string, but *regexp.Regexp) error {
	_, old, _, err := p.split()
	if err == nil && but.ReplaceAllString(old, "") != but.ReplaceAllString(content, "") {
		err = fmt.Errorf("%s has\n%s\nbut this run gives\n%s", p.File, old, content)
	}
	return err
}

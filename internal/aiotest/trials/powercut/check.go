package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// A check compares the files left by a writer with the possible contents.
type check struct {
	plans  []plan
	known  knowledge
	seed   uint64
	engine string // of the writer

	// killed says that the disk saw no power cut. Then a truncated record is a prefix, and never
	// zeros.
	killed bool

	checked int      // records that must be there
	torn    int      // records that were not acknowledged, and are there in part
	losses  []string // differences found
}

func (c *check) lost(format string, args ...any) {
	c.losses = append(c.losses, fmt.Sprintf(format, args...))
}

// dir checks the files in a directory.
func (c *check) dir(dir string, r *rand.Rand) {
	for i, p := range c.plans {
		content, err := os.ReadFile(filepath.Join(dir, p.name))
		if err != nil {
			c.lost("%v", err)
			continue
		}
		c.file(i, content)
	}
	if err := readByChild(dir, r.Uint64()); err != nil {
		c.lost("%v", err)
	}
}

// file checks the content of a file.
func (c *check) file(i int, content []byte) {
	if c.plans[i].slots != nil {
		c.inSlots(i, content)
	} else {
		c.appended(i, content)
	}
}

// inSlots checks a file of slots. Each sector of a slot must hold the required record, or one that
// was written later. The gaps between slots must be empty.
func (c *check) inSlots(i int, content []byte) {
	p, size := c.plans[i], int64(len(content))
	if least := c.leastSize(i); size < least {
		c.lost("%s: of %d bytes; %d are acknowledged", p.name, size, least)
	}
	if !c.possibleSize(i, size) {
		c.lost("%s: the size is %d, where no record ends", p.name, size)
	}
	end := int64(0)
	for j, s := range p.slots {
		if gap := bytes.TrimLeft(window(content, end, int(s.off-end)), "\x00"); len(gap) > 0 {
			c.lost("%s: in the gap before %d: %s", p.name, s.off, describe(gap))
		}
		c.slot(i, j, window(content, s.off, s.length))
		end = s.end()
	}
}

// window returns n bytes of content from off on, with zeros after its end.
func window(content []byte, off int64, n int) []byte {
	p := make([]byte, n)
	if off < int64(len(content)) {
		copy(p, content[off:])
	}
	return p
}

// leastSize returns the end of the last record that must be there.
func (c *check) leastSize(i int) int64 {
	p := c.plans[i]
	least := p.startSize()
	for j, s := range c.known[i] {
		if s.least > 0 {
			least = max(least, p.slots[j].end())
		}
	}
	return least
}

// possibleSize reports whether an os.File could have left a file of slots at that size: the initial
// size, the end of a record, or the end of a block before that. When a page is written to the disk,
// the size there grows to the end of the page or to the size in memory, whichever is less. The page
// cache is written folio by folio.
func (c *check) possibleSize(i int, size int64) bool {
	p := c.plans[i]
	if size == p.startSize() {
		return true
	}
	for j, s := range c.known[i] {
		end := p.slots[j].end()
		if s.most > 0 && (size == end || size < end && size%blockSize == 0) {
			return true
		}
	}
	return false
}

func (c *check) slot(i, j int, got []byte) {
	p, known := c.plans[i], c.known[i][j]
	if known.least > 0 {
		c.checked++
	}
	var versions [][]byte
	for v := known.least; v <= known.most; v++ {
		r := record{i, j, v, p.slots[j].off, p.slots[j].length}
		if v == 0 {
			versions = append(versions, make([]byte, r.Length))
		} else {
			versions = append(versions, r.content(c.seed))
		}
	}
	whole, bad, seen := c.direct(i, j), 0, map[int]bool{}
	eachSector(got, p.slots[j].off, func(part []byte, at int) {
		v := explain(part, versions, at, whole)
		seen[v] = true
		if v != unexplained {
			return
		}
		if bad++; bad == 1 {
			c.lost("%s: slot %d at %d, %d bytes, version %d to %d: byte %d: %s", p.name, j, p.slots[j].off, len(got),
				known.least, known.most, at, describe(got[at:]))
		}
	})
	if bad == 0 && (len(seen) > 1 || seen[mixture]) {
		c.torn++
	}
}

// direct reports whether the records of a slot are written past the page cache. Then the memory
// does not change while the disk is written from it.
func (c *check) direct(i, j int) bool {
	p := c.plans[i]
	return c.engine == "aio" && p.slots[j].aligned() && !slices.Contains(p.flags, 0)
}

// eachSector calls do for each part of p, at offset off of the file, that lies in one sector.
func eachSector(p []byte, off int64, do func(part []byte, at int)) {
	for at := 0; at < len(p); {
		n := min(len(p)-at, sectorSize-int((off+int64(at))%sectorSize))
		do(p[at:at+n], at)
		at += n
	}
}

// Results of explain that are no version.
const (
	unexplained = -1
	mixture     = -2 // of two
)

// explain returns the version that a sector belongs to; the sector begins at byte at of a slot.
// Unless whole is set, the sector may also mix two versions, because the page changed on its way to
// the disk.
func explain(part []byte, versions [][]byte, at int, whole bool) int {
	found := unexplained
	for i, a := range versions {
		k := common(part, a[at:])
		if k == len(part) {
			return i
		}
		for _, b := range versions {
			if !whole && bytes.Equal(part[k:], b[at+k:at+len(part)]) {
				found = mixture
			}
		}
	}
	return found
}

// common returns the length of the common prefix.
func common(a, b []byte) int {
	for i := range a {
		if i == len(b) || a[i] != b[i] {
			return i
		}
	}
	return len(a)
}

// appended checks a file of appended records. The records of one goroutine are in order; those of
// several interleave. All records up to the last required one must be whole. Sectors of later
// records may still be zeros.
func (c *check) appended(i int, content []byte) {
	name, turns := c.plans[i].name, make([]int, len(c.known[i]))
	at := 0
	for {
		n := c.next(i, turns, content[at:])
		if n == 0 {
			break
		}
		at += n
	}
	for g, s := range c.known[i] {
		c.checked += min(turns[g], s.least)
		if turns[g] < s.least {
			c.lost("%s: goroutine %d: %d of %d acknowledged records; at %d of %d bytes: %s", name, g, turns[g], s.least, at,
				len(content), describe(content[at:]))
			return
		}
	}
	if at < len(content) && !c.padding(i, content[at:]) {
		c.torn++
	}
	if !c.tail(i, turns, content, at) {
		c.lost("%s: at %d of %d bytes, after the last whole record: %s", name, at, len(content), describe(content[at:]))
	}
}

// next returns the length of the record that content begins with, if it is whole and the next of
// its goroutine.
func (c *check) next(i int, turns []int, content []byte) int {
	for g, s := range c.known[i] {
		if turns[g] == s.most {
			continue
		}
		if want := c.turn(i, g, turns); bytes.HasPrefix(content, want) {
			turns[g]++
			return len(want)
		}
	}
	return 0
}

func (c *check) turn(i, g int, turns []int) []byte {
	return record{i, g, turns[g] + 1, -1, c.known[i][g].lengths[turns[g]]}.content(c.seed)
}

// tail reports whether content from byte at on can be the remains of records that were begun, in
// some order.
func (c *check) tail(i int, turns []int, content []byte, at int) bool {
	if at == len(content) || c.padding(i, content[at:]) {
		return true
	}
	for g, s := range c.known[i] {
		if turns[g] == s.most {
			continue
		}
		want := c.turn(i, g, turns)
		got := content[at:min(at+len(want), len(content))]
		// The size may be within a record where the kernel has copied a folio.
		if len(got) < len(want) && len(content)%blockSize != 0 || !c.remains(i, got, want, int64(at)) {
			continue
		}
		turns[g]++
		if c.tail(i, turns, content, at+len(got)) {
			return true
		}
		turns[g]--
	}
	return false
}

// padding reports whether rest may be the zeros at the end of a file: an exclusive Writer leaves
// whole blocks, and some ahead.
func (c *check) padding(i int, rest []byte) bool {
	return c.byWriter(i) && len(bytes.Trim(rest, "\x00")) == 0
}

// byWriter reports whether a file was written by a Writer, which may keep bytes in memory until a
// Sync.
func (c *check) byWriter(i int) bool { return c.plans[i].log > 0 && c.engine == "aio" }

// remains reports whether got may be the remains of want.
func (c *check) remains(i int, got, want []byte, off int64) bool {
	ok := true
	eachSector(got, off, func(part []byte, at int) {
		rest := part[common(part, want[at:]):]
		if len(bytes.Trim(rest, "\x00")) != 0 || c.killed && !c.byWriter(i) && len(rest) != 0 {
			ok = false
		}
	})
	return ok
}

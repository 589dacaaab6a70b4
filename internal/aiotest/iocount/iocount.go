// Package iocount counts the calls of a database on its files, by kind: their number and bytes, and
// how many are of whole blocks, or begin where the last one ended.
package iocount

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// block is the length in bytes of a whole block.
const block = 4096

// Calls counts calls. The zero value is ready, and may be used concurrently.
type Calls struct {
	mu    sync.Mutex
	kinds map[string]*sum
}

// A sum adds up calls of one kind.
type sum struct{ calls, bytes, aligned, follow int64 }

// Count counts a call of n bytes at off on a file whose previous call ended at last, and returns
// the end of this one. A call without bytes, such as a sync, has n = 0.
func (c *Calls) Count(call string, n int, off, last int64) (end int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kinds == nil {
		c.kinds = make(map[string]*sum)
	}
	t := c.kinds[call]
	if t == nil {
		t = new(sum)
		c.kinds[call] = t
	}
	t.calls++
	t.bytes += int64(n)
	if off%block == 0 && n%block == 0 {
		t.aligned++
	}
	if off == last {
		t.follow++
	}
	return off + int64(n)
}

// Print prints a row of Markdown for each kind, with what in the first column, and resets the
// counts. The columns are calls (per operation, if operations is not 0), mean bytes per call, the
// share of whole blocks, and the share of calls that began where the last ended.
func (c *Calls) Print(what string, operations int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, call := range slices.SortedFunc(maps.Keys(c.kinds), cmp.Compare) {
		t := c.kinds[call]
		if operations == 0 {
			fmt.Printf("| %s | %s | %d |", what, call, t.calls)
		} else {
			fmt.Printf("| %s | %s | %.2f |", what, call, float64(t.calls)/float64(operations))
		}
		if t.bytes == 0 {
			fmt.Println(" | | |")
			continue
		}
		fmt.Printf(" %d | %d%% | %d%% |\n", t.bytes/t.calls, 100*t.aligned/t.calls, 100*t.follow/t.calls)
	}
	clear(c.kinds)
}

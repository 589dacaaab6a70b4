// Package iocount counts what a database asks of its files, by kind of call: how many, of how many bytes, of whole blocks or
// not, one after the other or not.
package iocount

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// block is the length in bytes that the columns of Print call whole.
const block = 4096

// Calls are what is counted. The zero value is ready, and may be used concurrently.
type Calls struct {
	mu    sync.Mutex
	kinds map[string]*sum
}

// A sum is what calls of one kind had in common.
type sum struct{ calls, bytes, aligned, follow int64 }

// Count notes a call of n bytes at off, where the last one of the file ended at last, and returns where this one does. A sync
// and the like has no bytes.
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

// Print prints a row of Markdown for each kind, which begins with what, and forgets them: calls (for each of so many
// operations, if that is not 0), bytes of one in the mean, the share of whole blocks, and of those that began where the last ended.
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

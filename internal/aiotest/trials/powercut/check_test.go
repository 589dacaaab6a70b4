package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/go-aio/aio/internal/aiotest/crashlog"
)

const testSeed = 7

// left is a possible remainder of a file of three slots, or of two goroutines that append.
type left struct {
	check
	content []byte
}

// slotsLeft has a block, a gap and two unaligned slots. The first is acknowledged at version 2 and
// begun again, the second is acknowledged, the third begun.
func slotsLeft() *left {
	slots := []slot{{0, blockSize}, {5000, 1000}, {6000, 3000}}
	l := &left{check: check{seed: testSeed, engine: "aio", plans: []plan{{name: "slots", slots: slots, workers: 1, flags: []int{1}}}}}
	l.known = knowledge{{{least: 2, most: 3}, {least: 1, most: 1}, {most: 1}}}
	l.content = make([]byte, 9000)
	for i, version := range []int{2, 1, 1} {
		copy(l.content[slots[i].off:], l.record(i, version))
	}
	return l
}

// record is a record of a slot.
func (l *left) record(i, version int) []byte {
	s := l.plans[0].slots[i]
	return record{0, i, version, s.off, s.length}.content(testSeed)
}

// appendedLeft has two goroutines with two records each; three of them are acknowledged.
func appendedLeft() *left {
	l := &left{check: check{seed: testSeed, engine: "aio", plans: []plan{{name: "append", workers: 2, flags: []int{1}}}}}
	l.known = knowledge{{{2, 2, []int{700, 1500}}, {1, 2, []int{100, 5000}}}}
	for _, turn := range []record{{0, 1, 1, -1, 100}, {0, 0, 1, -1, 700}, {0, 0, 2, -1, 1500}, {0, 1, 2, -1, 5000}} {
		l.content = append(l.content, turn.content(testSeed)...)
	}
	return l
}

// loggedLeft is appendedLeft by an exclusive Writer.
func loggedLeft() *left {
	l := appendedLeft()
	l.plans[0].log = blockSize
	l.content = append(l.content, make([]byte, 8192-7300)...)
	return l
}

// TestCheck checks remainders that a crash may leave, and remainders that it may not.
func TestCheck(t *testing.T) {
	last := 2300 // the offset of the last appended record, which is not acknowledged
	zero := func(p []byte) { clear(p) }
	stale := func(p []byte) { copy(p, bytes.Repeat([]byte(secret), len(p)/len(secret)+1)) }
	for name, c := range map[string]struct {
		left   *left
		change func(l *left)
		want   string // in the loss; "" if there is none
	}{
		"slots as written":              {slotsLeft(), func(*left) {}, ""},
		"a later version":               {slotsLeft(), func(l *left) { copy(l.content, l.record(0, 3)) }, ""},
		"sectors of a later version":    {slotsLeft(), func(l *left) { copy(l.content[512:1024], l.record(0, 3)[512:]) }, ""},
		"half a sector, direct":         {slotsLeft(), func(l *left) { copy(l.content[512:700], l.record(0, 3)[512:]) }, "byte 512"},
		"half a sector, cached":         {slotsLeft(), func(l *left) { l.engine = "os"; copy(l.content[512:700], l.record(0, 3)[512:]) }, ""},
		"an older version":              {slotsLeft(), func(l *left) { copy(l.content, l.record(0, 1)) }, "all of {File:0 Slot:0 Version:1"},
		"a version of the future":       {slotsLeft(), func(l *left) { copy(l.content, l.record(0, 4)) }, "Version:4"},
		"acknowledged and torn":         {slotsLeft(), func(l *left) { zero(l.content[5120:5632]) }, "slot 1"},
		"begun and torn":                {slotsLeft(), func(l *left) { zero(l.content[6144:7168]) }, ""},
		"begun and not there":           {slotsLeft(), func(l *left) { l.content = l.content[:6000] }, ""},
		"begun and stale":               {slotsLeft(), func(l *left) { stale(l.content[6144:6656]) }, "STALE"},
		"stale between slots":           {slotsLeft(), func(l *left) { stale(l.content[4608:5000]) }, "STALE"},
		"short of an acknowledged slot": {slotsLeft(), func(l *left) { l.content = l.content[:5999] }, "6000 are acknowledged"},
		"half way at a page":            {slotsLeft(), func(l *left) { l.content = l.content[:8192] }, ""},
		"half way elsewhere":            {slotsLeft(), func(l *left) { l.content = l.content[:8191] }, "no record ends"},
		"slots rounded up":              {slotsLeft(), func(l *left) { l.content = append(l.content, make([]byte, 3288)...) }, "no record ends"},

		"appended as written":      {appendedLeft(), func(*left) {}, ""},
		"the last is not there":    {appendedLeft(), func(l *left) { l.content = l.content[:last] }, ""},
		"the last is torn":         {appendedLeft(), func(l *left) { zero(l.content[3072:4096]) }, ""},
		"the last is zeros":        {appendedLeft(), func(l *left) { zero(l.content[last:]) }, ""},
		"zeros after a kill":       {appendedLeft(), func(l *left) { l.killed = true; zero(l.content[3072:4096]) }, "after the last whole"},
		"the last is stale":        {appendedLeft(), func(l *left) { stale(l.content[4096:4608]) }, "after the last whole"},
		"half of the last":         {appendedLeft(), func(l *left) { l.content = l.content[:4096] }, ""},
		"a part of the last":       {appendedLeft(), func(l *left) { l.content = l.content[:3000] }, "after the last whole"},
		"rounded up":               {appendedLeft(), func(l *left) { l.content = append(l.content, make([]byte, 8192-7300)...) }, "after the last whole"},
		"an acknowledged one torn": {appendedLeft(), func(l *left) { zero(l.content[1024:1536]) }, "1 of 2 acknowledged"},
		"an acknowledged one gone": {appendedLeft(), func(l *left) { l.content = l.content[:800] }, "1 of 2 acknowledged"},
		"logged as written":        {loggedLeft(), func(*left) {}, ""},
		"the log's last is zeros":  {loggedLeft(), func(l *left) { zero(l.content[last:]) }, ""},
		"the log's last is short":  {loggedLeft(), func(l *left) { zero(l.content[4096:]) }, ""},
		"the log is killed":        {loggedLeft(), func(l *left) { l.killed = true; zero(l.content[4096:]) }, ""},
		"the log's tail is stale":  {loggedLeft(), func(l *left) { stale(l.content[7680:8192]) }, "after the last whole"},
		"the log by package os":    {loggedLeft(), func(l *left) { l.engine = "os" }, "after the last whole"},
		"an acknowledged one lost": {loggedLeft(), func(l *left) { zero(l.content[1024:]) }, "1 of 2 acknowledged"},
		"one of them twice":        {appendedLeft(), func(l *left) { l.content = append(l.content, l.content[:100]...) }, "after the last whole"},
	} {
		t.Run(name, func(t *testing.T) {
			c.change(c.left)
			c.left.file(0, c.left.content)
			switch text := fmt.Sprint(c.left.losses); {
			case c.want == "" && len(c.left.losses) > 0:
				t.Errorf("lost: %s", text)
			case c.want != "" && !strings.Contains(text, c.want):
				t.Errorf("lost: %s; not %q", text, c.want)
			}
		})
	}
}

// TestKnowledge has acknowledgements and beginnings before, during and after a cut.
func TestKnowledge(t *testing.T) {
	all := []plan{{slots: make([]slot, 2), workers: 1}}
	event := func(kind byte, at int64, slot, version int) crashlog.Event {
		return crashlog.Event{Kind: kind, At: at, Record: crashlog.Record{Slot: slot, Version: version}}
	}
	h := &history{events: []crashlog.Event{
		event(crashlog.Begun, 10, 0, 1),
		event(crashlog.Written, 11, 0, 1),
		event(crashlog.Synced, 12, 0, 1),
		event(crashlog.Begun, 13, 0, 2),
		event(crashlog.Written, 14, 0, 2),
		event(crashlog.Begun, 15, 1, 1),
		event(crashlog.Synced, 20, 0, 2),
		event(crashlog.Begun, 30, 0, 3),
		event(crashlog.Begun, 41, 0, 4),
	}}
	for _, c := range []struct {
		what string
		got  knowledge
		want [4]int
	}{
		{"a cut", h.cut(all, 20, 40), [4]int{1, 3, 0, 1}},
		{"a later cut", h.cut(all, 21, 41), [4]int{2, 4, 0, 1}},
		{"the end", h.end(all), [4]int{2, 4, 0, 1}},
	} {
		first, second := c.got[0][0], c.got[0][1]
		if got := [4]int{first.least, first.most, second.least, second.most}; got != c.want {
			t.Errorf("%s: %v, not %v", c.what, got, c.want)
		}
	}
}

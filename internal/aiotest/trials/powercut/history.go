package main

import (
	"bufio"
	"errors"
	"io"
	"math"
	"sync"
	"time"

	"github.com/go-aio/aio/internal/aiotest/crashlog"
)

// A history is the sequence of events that a writer announced.
type history struct {
	mu     sync.Mutex
	events []crashlog.Event
	err    error // of the writer

	acknowledged chan struct{} // receives after each acknowledgement
	ended        chan struct{}
}

// listen records the events that the writer announces on r, to the end.
func listen(r io.Reader) *history {
	h := &history{acknowledged: make(chan struct{}, 1), ended: make(chan struct{})}
	go func() {
		defer close(h.ended)
		for lines := bufio.NewScanner(r); lines.Scan(); {
			h.add(lines.Text())
		}
	}()
	return h
}

func (h *history) add(line string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e, err := crashlog.Parse(line)
	if err != nil {
		if h.err == nil {
			h.err = err
		}
		return
	}
	h.events = append(h.events, e)
	if e.Kind == crashlog.Synced {
		select {
		case h.acknowledged <- struct{}{}:
		default:
		}
	}
}

// next waits for the next acknowledgement.
func (h *history) next() error {
	select {
	case <-h.acknowledged:
	default:
	}
	select {
	case <-h.acknowledged:
		return nil
	case <-h.ended:
		return h.ending()
	case <-time.After(30 * time.Second):
		return errors.New("the writer has acknowledged nothing for 30 s")
	}
}

// ending returns the error of a writer that ended by itself.
func (h *history) ending() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return errors.Join(errors.New("the writer has ended by itself"), h.err)
}

// A slotState bounds the contents of a slot at some instant.
type slotState struct {
	least   int   // this version or a later one must be there; 0 for the initial content
	most    int   // the last version that may be there
	lengths []int // of the records, by version - 1, to most
}

// A knowledge has the state of each slot, by file.
type knowledge [][]slotState

func newKnowledge(all []plan) knowledge {
	k := make(knowledge, len(all))
	for i, p := range all {
		k[i] = make([]slotState, max(len(p.slots), p.workers))
	}
	return k
}

// cut returns the knowledge of a disk whose power was cut after instant from and before instant to.
// Records that the writer knew to be synced before are there; records announced later are not. The
// writer takes the time of an acknowledgement after its Sync has returned, and that of a beginning
// before the call. So the arrival of the lines does not matter, once all have arrived.
func (h *history) cut(all []plan, from, to int64) knowledge {
	return h.know(all, func(e crashlog.Event) bool { return e.Kind == crashlog.Synced && e.At < from }, to)
}

// end returns the knowledge of files that outlive their writer: all calls that had returned are
// there, synced or not.
func (h *history) end(all []plan) knowledge {
	return h.know(all, func(e crashlog.Event) bool { return e.Kind != crashlog.Begun }, math.MaxInt64)
}

func (h *history) know(all []plan, sure func(crashlog.Event) bool, to int64) knowledge {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := newKnowledge(all)
	for _, e := range h.events {
		s := &k[e.File][e.Slot]
		switch {
		case sure(e):
			s.least = max(s.least, e.Version)
		case e.Kind == crashlog.Begun && e.At <= to:
			s.most = e.Version
			s.lengths = append(s.lengths, e.Length)
		}
	}
	return k
}

// between returns the number of records between the required and the possible ones.
func (k knowledge) between() int {
	n := 0
	for _, slots := range k {
		for _, s := range slots {
			n += s.most - s.least
		}
	}
	return n
}

// count returns the number of events of a kind.
func (h *history) count(kind byte) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, e := range h.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

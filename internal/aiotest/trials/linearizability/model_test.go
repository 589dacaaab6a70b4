package linearizability

import (
	"fmt"
	"slices"

	"github.com/anishathalye/porcupine"
)

// wordSize is the length in bytes of the unit of a history. A transfer of an aligned word is atomic
// by the page cache, where read(2) of ext4 copies without a lock, and by the disk. Of more than a
// word, os.File promises nothing to a reader.
const wordSize = 8

// A kind of operation.
type kind uint8

const (
	read  kind = iota // saw value, or absent
	write             // wrote value
	cut               // a Truncate to less: the word is beyond the end now
	reach             // a Truncate to more, or a write behind it: the word is there, zero if it was not
	clean             // the part of a Truncate to less that readers of the page cache may see first
)

func (k kind) String() string { return []string{"read", "write", "cut", "reach", "clean"}[k] }

// absent is the value of a word behind the end of the file.
const absent = ^uint64(0)

// A wordOp is the effect of an operation on one word.
type wordOp struct {
	kind  kind
	value uint64
}

// word is a model of one word of a file.
var word = porcupine.Model{
	Init: func() any { return uint64(0) },
	Step: func(state, input, _ any) (bool, any) {
		was, op := state.(uint64), input.(wordOp)
		switch op.kind {
		case read:
			return was == op.value, was
		case write:
			return true, op.value
		case cut:
			return true, absent
		case reach:
			return true, if0(was == absent, was)
		default: // clean
			return true, if0(was != absent, was)
		}
	},
	Hash: func(state any) uint64 { return state.(uint64) },
	DescribeOperation: func(input, _ any) string {
		op := input.(wordOp)
		return fmt.Sprintf("%v %d", op.kind, int64(op.value))
	},
}

// if0 returns 0 if so is true, and else v.
func if0(so bool, v uint64) uint64 {
	if so {
		return 0
	}
	return v
}

// words returns the history of each word of a file of that many words. Of neighbours with the same
// history it returns one, as most words of a transfer have the same.
func words(history []event, count int, cached bool) (all [][]porcupine.Operation) {
	for w := range count {
		if w > 0 && !slices.ContainsFunc(history, func(e event) bool { return e.tellsApart(w) }) {
			continue
		}
		var ops []porcupine.Operation
		for _, e := range history {
			for _, op := range e.onWord(w, cached) {
				ops = append(ops, e.operation(op))
			}
		}
		all = append(all, ops)
	}
	return all
}

// tellsApart reports whether an event has different effects on word w and on the one before.
func (e event) tellsApart(w int) bool {
	at := int64(w * wordSize)
	if at == e.off || at == e.off+int64(e.n) {
		return true
	}
	if e.kind != read || at < e.off || at > e.off+int64(e.n) {
		return false
	}
	i := (at - e.off) / wordSize
	return e.saw[i] != e.saw[i-1]
}

// onWord returns the effect of an event on word w. For readers of the page cache a Truncate to less
// has two steps, see clean.
func (e event) onWord(w int, cached bool) []wordOp {
	at := int64(w * wordSize)
	within := e.off <= at && at < e.off+int64(e.n)
	switch {
	case e.kind == read && within:
		return []wordOp{{read, e.saw[(at-e.off)/wordSize]}}
	case e.kind == write && within:
		return []wordOp{{write, e.value}}
	case e.kind == write && at < e.off, e.kind == cut && at < e.off:
		return []wordOp{{reach, 0}}
	case e.kind == cut && cached:
		return []wordOp{{clean, 0}, {cut, 0}}
	case e.kind == cut:
		return []wordOp{{cut, 0}}
	}
	return nil
}

func (e event) operation(input any) porcupine.Operation {
	return porcupine.Operation{ClientId: e.client, Input: input, Call: e.called, Return: e.returned}
}

// A file of a few cells. Its history has the first word of each, and the size. The whole effect of
// an operation is one step.
const (
	cells    = 4
	cellSize = 4096
)

type fileState struct {
	size int64
	cell [cells]uint64
}

// file is the model of such a file. Its inputs are events.
var file = porcupine.Model{
	Init: func() any { return fileState{size: cells * cellSize} },
	Step: func(state, input, _ any) (bool, any) {
		s, e := state.(fileState), input.(event)
		c := int(e.off / cellSize)
		switch e.kind {
		case read:
			if e.off >= s.size {
				return e.saw[0] == absent, s
			}
			return e.saw[0] == s.cell[c], s
		case write:
			s.cell[c] = e.value
			s.size = max(s.size, e.off+int64(e.n))
		case cut:
			s.size = e.off
			s.zeroFrom(e.off)
		default: // clean
			s.zeroFrom(e.off)
		}
		return true, s
	},
	DescribeOperation: func(input, _ any) string {
		e := input.(event)
		return fmt.Sprintf("%v %d bytes at %d: %d", e.kind, e.n, e.off, append(e.saw, e.value)[0])
	},
}

func (s *fileState) zeroFrom(off int64) {
	for c := range s.cell {
		if int64(c*cellSize) >= off {
			s.cell[c] = 0
		}
	}
}

// whole returns the history of a file of cells.
func whole(history []event, cached bool) (ops []porcupine.Operation) {
	for _, e := range history {
		if e.kind == cut && cached {
			first := e
			first.kind = clean
			ops = append(ops, e.operation(first))
		}
		ops = append(ops, e.operation(e))
	}
	return ops
}

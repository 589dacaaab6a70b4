//go:build linux

package txcheck

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"
)

// memory is a Store that a test can damage.
type memory [Workers]map[string][]byte

func (m *memory) Commit(worker int, changes []Change) error {
	apply(m[worker], changes)
	return nil
}

func (m *memory) Load(worker int) (map[string][]byte, error) { return m[worker], nil }
func (m *memory) Check() error                               { return nil }
func (m *memory) Close() error                               { return nil }

// after returns the tables as they are after that many transactions of each worker.
func after(seed uint64, transactions int) *memory {
	m := new(memory)
	for worker := range m {
		m[worker] = make(map[string][]byte)
		for version := range transactions {
			apply(m[worker], transaction(seed, worker, version+1))
		}
	}
	return m
}

// TestCheck checks tables that a crash may leave, and tables that it may not.
func TestCheck(t *testing.T) {
	const seed, last = 5, 50
	next := transaction(seed, 1, last+1)
	if len(next) < 2 {
		t.Fatal("the next transaction has one change: choose another seed")
	}
	for name, c := range map[string]struct {
		known  Known
		change func(table map[string][]byte, key string)
		want   string // in the output
	}{
		"as acknowledged":         {Known{last, last}, nil, ""},
		"the last was under way":  {Known{last, last + 1}, nil, ""},
		"one before was the last": {Known{last - 1, last}, nil, ""},
		"one is not there":        {Known{last + 1, last + 1}, nil, "worker 2 is not as after any of the transactions 51 to 51"},
		"one that never ran":      {Known{last - 2, last - 1}, nil, "worker 0 is not as after any of the transactions 48 to 49"},
		"a key is gone":           {Known{last, last}, func(m map[string][]byte, key string) { delete(m, key) }, "is not there, not"},
		"a key that was not set":  {Known{last, last}, func(m map[string][]byte, _ string) { m["another"] = []byte{1} }, "another is 1 bytes"},
		"a bit is wrong":          {Known{last, last}, func(m map[string][]byte, key string) { m[key] = flipped(m[key]) }, "worker 1 key"},
		"half of one transaction": {Known{last, last + 1}, func(m map[string][]byte, _ string) { apply(m, next[:1]) }, "transactions 50 to 51"},
	} {
		t.Run(name, func(t *testing.T) {
			m := after(seed, last)
			if c.change != nil {
				c.change(m[1], slices.Min(slices.Collect(maps.Keys(m[1]))))
			}
			var in, out bytes.Buffer
			if err := WriteKnown(&in, slices.Repeat([]Known{c.known}, Workers)); err != nil {
				t.Fatal(err)
			}
			known, err := readKnown(&in)
			if err != nil {
				t.Fatal(err)
			}
			if err := check(m, seed, known, &out); err != nil {
				t.Fatal(err)
			}
			if c.want == "" && out.Len() > 0 || !strings.Contains(out.String(), c.want) {
				t.Errorf("printed: %q; not %q", &out, c.want)
			}
		})
	}
}

func flipped(v []byte) []byte {
	v = bytes.Clone(v)
	v[len(v)-1] ^= 1
	return v
}

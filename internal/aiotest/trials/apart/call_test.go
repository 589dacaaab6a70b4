package apart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest"
)

// A call is one that hangs on a disk that does.
type call struct {
	name    string
	prepare func(t *testing.T, d *disk)
	do      func(d *disk, i int) error
	check   func(d *disk, n int) error // what n calls have left; nil: what do returns tells all
	left    bool                       // do returns while the disk hangs
}

// writes are the calls that a frozen filesystem blocks.
var writes = []call{
	{
		name:    "direct writes",
		prepare: func(t *testing.T, d *disk) { clean(t, d.direct, slots*slot) },
		do: func(d *disk, i int) error {
			_, err := d.direct.WriteAt(contents()[i%slots], int64(i%slots)*slot)
			return err
		},
		check: func(d *disk, n int) error { return written(d.direct, n, 0, slot) },
	},
	{
		name:    "buffered writes",
		prepare: func(t *testing.T, d *disk) { clean(t, d.cached, slots*slot) },
		do: func(d *disk, i int) error {
			_, err := d.cached.WriteAt(contents()[i%slots], int64(i%slots)*slot)
			return err
		},
		check: func(d *disk, n int) error { return written(d.cached, n, 0, slot) },
	},
	{
		name:    "odd writes of 100 bytes",
		prepare: func(t *testing.T, d *disk) { clean(t, d.odd, slots*slot) },
		do: func(d *disk, i int) error {
			_, err := d.odd.WriteAt(contents()[i%slots][odd:odd+100], int64(i%slots)*slot+odd)
			return err
		},
		check: func(d *disk, n int) error { return written(d.odd, n, odd, odd+100) },
	},
	{
		name:    "odd writes of 1 MiB",
		prepare: func(t *testing.T, d *disk) { clean(t, d.large, largeSlots*mib) },
		do: func(d *disk, i int) error {
			_, err := d.large.WriteAt(largeContents()[i%largeSlots][odd:mib-odd], int64(i%largeSlots)*mib+odd)
			return err
		},
		check: func(d *disk, n int) error { return writtenLarge(d.large, n, odd, mib-odd) },
	},
	{
		name:    "bounced writes of 1 MiB",
		prepare: func(t *testing.T, d *disk) { clean(t, d.large, largeSlots*mib) },
		do: func(d *disk, i int) error {
			_, err := d.large.WriteAt(largeContents()[i%largeSlots], int64(i%largeSlots)*mib)
			return err
		},
		check: func(d *disk, n int) error { return writtenLarge(d.large, n, 0, mib) },
	},
	{
		name:    "Batches of 16 writes",
		prepare: func(t *testing.T, d *disk) { clean(t, d.batched, slots*batch*slot) },
		do: func(d *disk, i int) error {
			var b aio.Batch
			for j := i * batch; j < (i+1)*batch; j++ {
				b.WriteAt(d.batched, contents()[j%slots], int64(j)*slot)
			}
			return b.Do(context.Background())
		},
		check: func(d *disk, n int) error { return written(d.batched, n*batch, 0, slot) },
	},
	{
		name:    "abandoned writes",
		left:    true,
		prepare: func(t *testing.T, d *disk) { clean(t, d.direct, slots*slot) },
		do: func(d *disk, i int) error {
			return abandoned(func(ctx context.Context) error {
				_, err := d.direct.WriteAtContext(ctx, contents()[i%slots], int64(i%slots)*slot)
				return err
			})
		},
		check: func(d *disk, n int) error { return written(d.direct, n, 0, slot) },
	},
	{
		name: "Truncates",
		do:   func(d *disk, i int) error { return d.small[i%smallFiles].Truncate(slot) },
		check: func(d *disk, _ int) error {
			for _, f := range d.small {
				if fi, err := f.Stat(); err != nil || fi.Size() != slot {
					return fmt.Errorf("%s: %d bytes, %v", f.Name(), fi.Size(), err)
				}
			}
			return nil
		},
	},
}

// reads are the calls that a stalled disk blocks. The first together can be made side by side.
var reads = []call{
	{
		name:    "direct reads",
		prepare: func(t *testing.T, d *disk) { write(t, d.direct) },
		do:      func(d *disk, i int) error { return read(d.direct, aio.AlignedBuffer(slot), i) },
	},
	{
		name:    "Batches of 16 reads",
		prepare: func(t *testing.T, d *disk) { write(t, d.direct) },
		do: func(d *disk, i int) error {
			var b aio.Batch
			var all [batch][]byte
			for j := range all {
				all[j] = aio.AlignedBuffer(slot)
				b.ReadAt(d.direct, all[j], int64((i+j)%slots)*slot)
			}
			err := b.Do(context.Background())
			for j, p := range all {
				err = errors.Join(err, same(p, contents()[(i+j)%slots], i+j))
			}
			return err
		},
	},
	{
		name:    "bounced reads",
		prepare: func(t *testing.T, d *disk) { write(t, d.direct) },
		do:      func(d *disk, i int) error { return read(d.direct, make([]byte, slot-odd), i) },
	},
	{
		name: "Syncs",
		prepare: func(t *testing.T, d *disk) {
			for i := range slots {
				if _, err := d.cached.WriteAt(contents()[i], int64(i)*slot); err != nil {
					t.Fatal(err)
				}
			}
		},
		do:    func(d *disk, _ int) error { return d.cached.Sync() },
		check: func(d *disk, _ int) error { return written(d.cached, slots, 0, slot) },
	},
	{
		name: "abandoned reads",
		left: true,
		do: func(d *disk, i int) error {
			return abandoned(func(ctx context.Context) error {
				_, err := d.direct.ReadAtContext(ctx, make([]byte, slot), int64(i%slots)*slot)
				return err
			})
		},
	},
	{
		name: "buffered reads",
		prepare: func(t *testing.T, d *disk) {
			write(t, d.cached)
			aiotest.DropCache(t, d.cached.OSFile())
		},
		do: func(d *disk, i int) error { return read(d.cached, make([]byte, slot), i) },
	},
	{
		name:    "direct writes",
		prepare: writes[0].prepare,
		do:      writes[0].do,
		check:   writes[0].check,
	},
}

// together is the number of them.
const together = 5

const (
	odd   = 36 // bytes, a multiple of no unit
	batch = 16 // members
)

// abandoned makes a call and abandons it.
func abandoned(do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := do(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("not abandoned: %w", err)
	}
	return nil
}

// write gives each slot of f its content.
func write(t *testing.T, f *aio.File) {
	t.Helper()
	for i, p := range contents() {
		if _, err := f.WriteAt(p, int64(i)*slot); err != nil {
			t.Fatal(err)
		}
	}
}

// read reads the beginning of slot i of f, and compares it.
func read(f *aio.File, p []byte, i int) error {
	i %= slots
	if _, err := f.ReadAt(p, int64(i)*slot); err != nil {
		return err
	}
	return same(p, contents()[i][:len(p)], i)
}

func same(got, want []byte, i int) error {
	if !bytes.Equal(got, want) {
		return fmt.Errorf("slot %d has %x, want %x", i, got[:16], want[:16])
	}
	return nil
}

// written checks bytes lo to hi of the first n slots of f.
func written(f *aio.File, n, lo, hi int) error {
	p := aio.AlignedBuffer(slot)
	for i := range n {
		if _, err := f.ReadAt(p, int64(i)*slot); err != nil {
			return err
		}
		if err := same(p[lo:hi], contents()[i%slots][lo:hi], i); err != nil {
			return err
		}
	}
	return nil
}

// writtenLarge is written for slots of 1 MiB.
func writtenLarge(f *aio.File, n, lo, hi int) error {
	p := aio.AlignedBuffer(mib)
	for i := range min(n, largeSlots) {
		if _, err := f.ReadAt(p, int64(i)*mib); err != nil {
			return err
		}
		if err := same(p[lo:hi], largeContents()[i][lo:hi], i); err != nil {
			return err
		}
	}
	return nil
}

package goleveldb

import "sync"

// Bounds in bytes of the zeros ahead of a journal; between these they are as long as the journal.
const minZeros, maxZeros = 16 << 10, 1 << 20

var zeros [maxZeros]byte

// A journalWriter writes a journal with zeros ahead of it. A Sync finds the size of the file
// unchanged, and its blocks there, and so writes nothing to the journal of the filesystem.
type journalWriter struct {
	*file

	mu    sync.Mutex // held across writes
	off   int64      // of the next byte
	ready int64      // the end of the zeros
}

func (j *journalWriter) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	n, err := j.f.WriteAt(p, j.off)
	j.off += int64(n)
	if err == nil && j.off > j.ready {
		// The zeros are optional, so an error is ignored. If the journal's own bytes do not fit,
		// the next Write returns the error.
		m, _ := j.f.WriteAt(zeros[:min(max(j.off, minZeros), maxZeros)], j.off)
		j.ready = j.off + int64(m)
	}
	return n, err
}

// Sync is fdatasync(2), which also makes a larger size durable.
func (j *journalWriter) Sync() error { return j.f.Datasync() }

// Close cuts the zeros off.
func (j *journalWriter) Close() error {
	return j.close(func() error {
		j.mu.Lock()
		defer j.mu.Unlock()
		err := j.f.Truncate(j.off)
		if e := j.f.Close(); err == nil {
			err = e
		}
		return err
	})
}

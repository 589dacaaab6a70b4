package goleveldb

import "sync"

// How far zeros are written ahead of a journal in bytes: as far as it is long, between these.
const minZeros, maxZeros = 16 << 10, 1 << 20

var zeros [maxZeros]byte

// A journalWriter writes a journal with zeros ahead of it. A Sync that finds the file as long as it was, and its
// blocks there, has nothing for the journal of the filesystem.
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
		// Where these do not fit nobody has asked for them. The next Write says if that does not.
		m, _ := j.f.WriteAt(zeros[:min(max(j.off, minZeros), maxZeros)], j.off)
		j.ready = j.off + int64(m)
	}
	return n, err
}

// Sync is fdatasync(2), which has a size that grew synced too.
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

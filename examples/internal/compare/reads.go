package compare

import (
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
)

// Count runs every case once, by os.File, and prints its calls of the file.
func (p Program) Count(out io.Writer, o Options) error {
	name, err := p.file(o)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "| | reads | smallest | median | largest, bytes | whole blocks of 512 |\n|---|---|---|---|---|---|")
	for _, c := range p.Cases {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		counted := &counter{File: f}
		_, err = c.Run(counted)
		f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		slices.Sort(counted.sizes)
		n := len(counted.sizes)
		fmt.Fprintf(out, "| %s | %d | %d | %d | %d | %d %% |\n", c.Name, n,
			counted.sizes[0], counted.sizes[n/2], counted.sizes[n-1], 100*counted.aligned/n)
	}
	return nil
}

// A counter is a File that counts the ReadAts of its users.
type counter struct {
	File
	mu      sync.Mutex
	sizes   []int
	aligned int // that begin and end at multiples of 512 bytes
}

func (c *counter) ReadAt(p []byte, off int64) (int, error) {
	c.mu.Lock()
	c.sizes = append(c.sizes, len(p))
	if off%512 == 0 && len(p)%512 == 0 {
		c.aligned++
	}
	c.mu.Unlock()
	return c.File.ReadAt(p, off)
}

// Package compare reads a file by os.File and by aio.File, in turns, and prints how long each took.
// All examples use it.
package compare

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/go-aio/aio"
	"github.com/go-aio/aio/internal/aiotest/measure"
)

// A File has the methods of *os.File and *aio.File that readers need.
type File interface {
	io.ReaderAt
	io.Seeker
	io.Closer
	Stat() (fs.FileInfo, error)
}

// A Result describes the bytes read by a Case. It must be the same for each way to open the file.
type Result struct {
	Bytes int64  // of data
	Sum   uint64 // a checksum of these
}

// A Case is one way to read a file.
type Case struct {
	Name string
	// Run reads from f, which is not in the page cache, and does not close it.
	Run func(f File) (Result, error)
}

// A Program is a file and its cases.
type Program struct {
	// Name is the name of the file.
	Name string
	// Make writes the file, of about size bytes.
	Make  func(w io.Writer, size int64) error
	Cases []Case
}

// Options are the parameters of a run.
type Options struct {
	Dir    string // of the file, which is made if it is missing
	Size   int64  // bytes
	Rounds int    // of each case, after one that does not count
}

// ways are the three ways to open the file. The others are compared with the first.
var ways = []struct {
	name string
	open func(name string) (File, error)
}{
	{"os.File", func(name string) (File, error) { return os.Open(name) }},
	{"buffered", func(name string) (File, error) { return aio.Open(name) }},
	{"direct", func(name string) (File, error) { return aio.OpenFile(name, os.O_RDONLY|aio.O_DIRECT, 0) }},
}

// Main runs p with the options of the command line and prints a table, or ends the program with an
// error.
func Main(p Program) {
	var o Options
	flag.StringVar(&o.Dir, "dir", ".", "`directory` of the file, which is made if it is missing, on the disk to be measured")
	mib := flag.Int64("size", 256, "size of the file, if it is made, in `MiB`")
	flag.IntVar(&o.Rounds, "rounds", 10, "`rounds` of each way")
	reads := flag.Bool("reads", false, "count the calls of the file, in place of measuring")
	flag.Parse()
	o.Size = *mib << 20
	run := p.Measure
	if *reads {
		run = p.Count
	}
	if err := run(os.Stdout, o); err != nil {
		log.Fatal(err)
	}
}

// Measure runs every case in every way, in turns, and prints a row for each. It fails if a way has
// another result than os.File.
func (p Program) Measure(out io.Writer, o Options) error {
	name, err := p.file(o)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "| | os.File, MB/s | buffered ÷ | direct ÷ | direct, MB/s | direct, CPU ÷ |\n|---|---|---|---|---|---|")
	for _, c := range p.Cases {
		took, err := allRounds(name, c, o.Rounds)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		base, buffered, direct := speeds(took[0]), speeds(took[1]), speeds(took[2])
		fmt.Fprintf(out, "| %s | %.0f | %v | %v | %.0f | %.2f |\n", c.Name, measure.Quantile(base, 0.5), measure.Ratios(buffered, base),
			measure.Ratios(direct, base), measure.Quantile(direct, 0.5), measure.Ratios(cpuPerByte(took[2]), cpuPerByte(took[0])).Median)
	}
	return nil
}

// file returns the name of the file, which is on the disk.
func (p Program) file(o Options) (string, error) {
	name := filepath.Join(o.Dir, p.Name)
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		return name, err
	}
	f, err := os.Create(name + ".new")
	if err != nil {
		return "", err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	// The final name comes last, so that an incomplete file is not used.
	return name, errors.Join(p.Make(w, o.Size), w.Flush(), f.Sync(), f.Close(), os.Rename(f.Name(), name))
}

// A lap is one run of a case.
type lap struct {
	Result
	wall, cpu time.Duration
}

// allRounds returns the laps of each way. Their order is reversed after each round, and the first
// round does not count: it starts threads and fills pools.
func allRounds(name string, c Case, rounds int) (laps [3][]lap, err error) {
	var want Result
	for round := range rounds + 1 {
		for i := range ways {
			way := (i + round) % len(ways)
			l, err := once(name, c, way)
			if err != nil {
				return laps, fmt.Errorf("%s: %w", ways[way].name, err)
			}
			switch {
			case round > 0:
				laps[way] = append(laps[way], l)
			case i == 0:
				want = l.Result
			}
			if l.Result != want {
				return laps, fmt.Errorf("%s: %+v, and not %+v", ways[way].name, l.Result, want)
			}
		}
	}
	return laps, nil
}

// once opens the file, which it has dropped from the page cache, and runs c.
func once(name string, c Case, way int) (lap, error) {
	if err := measure.Drop(name); err != nil {
		return lap{}, err
	}
	f, err := ways[way].open(name)
	if err != nil {
		return lap{}, err
	}
	defer f.Close()
	runtime.GC() // so that no way collects the garbage of another
	cpu, begun := cpuTime(), time.Now()
	r, err := c.Run(f)
	return lap{r, time.Since(begun), cpuTime() - cpu}, err
}

// speeds are in MB a second.
func speeds(laps []lap) (all []float64) {
	for _, l := range laps {
		all = append(all, float64(l.Bytes)/1e6/l.wall.Seconds())
	}
	return all
}

func cpuPerByte(laps []lap) (all []float64) {
	for _, l := range laps {
		all = append(all, l.cpu.Seconds()/float64(l.Bytes))
	}
	return all
}

// Package compare does the same thing to a file by way of os.File and of aio.File, in turns, and
// prints how long each took. It is what the examples have in common.
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
	"slices"
	"time"

	"github.com/go-aio/aio"
)

// A File is what an *os.File and an *aio.File have in common, as far as readers need it.
type File interface {
	io.ReaderAt
	io.Seeker
	io.Closer
	Stat() (fs.FileInfo, error)
}

// A Result is what a Case has read. It must be the same whatever the file was opened with.
type Result struct {
	Bytes int64  // of data, as they came out
	Sum   uint64 // of these, in some way
}

// A Case is one thing to do with a file.
type Case struct {
	Name string
	// Run reads from f, which is not in the page cache, and does not close it.
	Run func(f File) (Result, error)
}

// A Program is a file and what is to be done with it.
type Program struct {
	// Name is that of the file.
	Name string
	// Make writes the file, of about size bytes.
	Make  func(w io.Writer, size int64) error
	Cases []Case
}

// Options say how to run a Program.
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
	{"plain", func(name string) (File, error) { return aio.Open(name) }},
	{"direct", func(name string) (File, error) { return aio.OpenFile(name, os.O_RDONLY|aio.O_DIRECT, 0) }},
}

// Main runs p as the command line says and prints a table, or ends the program with an error.
func Main(p Program) {
	var o Options
	flag.StringVar(&o.Dir, "dir", ".", "`directory` of the file, which is made if it is missing, on the disk to be measured")
	mib := flag.Int64("size", 256, "size of the file, if it is made, in `MiB`")
	flag.IntVar(&o.Rounds, "rounds", 10, "`rounds` of each way")
	reads := flag.Bool("reads", false, "count what is asked of the file, in place of measuring")
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

// Measure does every case by every way, in turns, and prints a row for each. It fails if a way
// has another result than os.File.
func (p Program) Measure(out io.Writer, o Options) error {
	name, err := p.file(o)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "| | os.File, MB/s | plain ÷ | direct ÷ | direct, MB/s | direct, CPU ÷ |\n|---|---|---|---|---|---|")
	for _, c := range p.Cases {
		took, err := measure(name, c, o.Rounds)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		fmt.Fprintf(out, "| %s | %.0f | %v | %v | %.0f | %.2f |\n", c.Name, speed(took[0]), ratios(took[1], took[0]),
			ratios(took[2], took[0]), speed(took[2]), median(divide(took[2], took[0], cpuPerByte)))
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
	// The name comes last, so that half a file is not taken for one.
	return name, errors.Join(p.Make(w, o.Size), w.Flush(), f.Sync(), f.Close(), os.Rename(f.Name(), name))
}

// A lap is one time that a case was run.
type lap struct {
	Result
	wall, cpu time.Duration
}

// measure returns the laps of each way. Their order is turned round after each round, and the
// first round does not count: it starts threads and fills pools.
func measure(name string, c Case, rounds int) (laps [3][]lap, err error) {
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

// once opens the file, which it has put out of the page cache, and runs c.
func once(name string, c Case, way int) (lap, error) {
	if err := drop(name); err != nil {
		return lap{}, err
	}
	f, err := ways[way].open(name)
	if err != nil {
		return lap{}, err
	}
	defer f.Close()
	runtime.GC() // nobody is to collect what another has left
	cpu, begun := cpuTime(), time.Now()
	r, err := c.Run(f)
	return lap{r, time.Since(begun), cpuTime() - cpu}, err
}

func speed(laps []lap) float64 {
	var all []float64
	for _, l := range laps {
		all = append(all, float64(l.Bytes)/1e6/l.wall.Seconds())
	}
	return median(all)
}

func wallPerByte(l lap) float64 { return l.wall.Seconds() / float64(l.Bytes) }
func cpuPerByte(l lap) float64  { return l.cpu.Seconds() / float64(l.Bytes) }

// divide returns the ratio of every lap of a to that of b in the same round: what disturbed the
// disk then disturbed both.
func divide(a, b []lap, value func(lap) float64) (each []float64) {
	for i := range a {
		each = append(each, value(a[i])/value(b[i]))
	}
	return each
}

// A ratio is a median and quartiles.
type ratio struct{ q1, median, q3 float64 }

// ratios says how much faster laps are than those of os.File.
func ratios(laps, of []lap) ratio {
	each := divide(of, laps, wallPerByte)
	return ratio{quantile(each, 0.25), median(each), quantile(each, 0.75)}
}

func (r ratio) String() string { return fmt.Sprintf("%.2f [%.2f-%.2f]", r.median, r.q1, r.q3) }

func median(values []float64) float64 { return quantile(values, 0.5) }

// quantile interpolates between the two nearest of values, of which there is at least one.
func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	low := int(at)
	if low+1 == len(sorted) {
		return sorted[low]
	}
	return sorted[low] + (at-float64(low))*(sorted[low+1]-sorted[low])
}

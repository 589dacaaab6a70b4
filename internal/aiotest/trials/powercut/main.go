// Powercut shows that acknowledged records are there after a power cut, and after kill -9.
//
// A writer, a process of its own, writes records to files by aio.File, in every way: WriteAt of
// blocks and of unaligned bytes, appending, extending, into holes and allocated space, to direct
// and buffered Files, with Sync, Datasync, O_SYNC and O_DSYNC, and by exclusive Writers. It
// announces each record before the call, and acknowledges it when Sync has returned. The filesystem
// is a real one on a simulated disk (see package fusedisk), whose power is cut at random moments.
// The flushed sectors are then there; each sector written since is there or not. Then the kernel
// replays the journal, and every file is compared with its possible contents:
//
//   - Every record that was acknowledged before the cut is there, or a later one in its place.
//   - Where a record was begun and not acknowledged, each sector is the old or the new one, and
//     nothing else: the disk was full of a deleted file's bytes.
//   - The size is one that os.File could have left, and never rounded up to a block. But zeros may
//     follow the last record of an exclusive Writer.
//
// In the end the writer gets SIGKILL, and everything that its calls had written is there. One
// writer in four uses os.File, which shows that the checks are sound.
//
//	go -C internal/aiotest/trials run ./powercut -cuts 200 -kills 50
//
// With -databases the writer runs transactions on a database over aio.File, in each of its modes in
// turn, and over the database's own files. Committed transactions are there. Others are there as a
// whole, or not at all.
//
//	go -C internal/aiotest/trials run ./powercut -databases pebble,sqlite,goleveldb,raftwal -cuts 200 -kills 50
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/trials/fusedisk"
	"github.com/go-aio/aio/internal/aiotest/txcheck"
)

// A trial is a run of the program.
type trial struct {
	cutCount, killCount int
	seed                uint64
	filesystems         []string // keys of volumes
	engine              string   // of all writers; "" for os.File in one of four
	loseFlushes         bool
	databases           []string // adapters whose databases write instead
	out                 io.Writer

	server *fusedisk.Server
	mount  string // where filesystems are mounted
	total  map[string]*outcome
}

func main() {
	aiotest.InNamespace()
	beWriter()
	beReader()
	t := &trial{out: os.Stdout}
	flag.IntVar(&t.cutCount, "cuts", 20, "how often the power is cut")
	flag.IntVar(&t.killCount, "kills", 5, "the number of writers, each of which is killed; they share the cuts")
	flag.Uint64Var(&t.seed, "seed", uint64(time.Now().UnixNano()), "chooses the writes and the times of the cuts; durations differ in each run")
	databases := flag.String("databases", "", "write by these databases instead: names of modules in adapters that have a program ./txcheck")
	names := flag.String("fs", "ext4,xfs", "filesystems: ext4, xfs, btrfs")
	flag.StringVar(&t.engine, "engine", "", "the writers' package: aio or os; by default, os for one in four")
	flag.BoolVar(&t.loseFlushes, "lose-flushes", false, "make the disk lose its flushes; the losses must be found")
	flag.Parse()
	t.filesystems = strings.Split(*names, ",")
	t.databases = strings.FieldsFunc(*databases, func(r rune) bool { return r == ',' })
	if err := t.run(); err != nil {
		fmt.Fprintf(os.Stderr, "powercut: seed %d: %v\n", t.seed, err)
		os.Exit(1)
	}
	if t.sum().losses != nil {
		os.Exit(1)
	}
}

// mostCuts is the maximum of a writer: its appended records must have room.
const mostCuts = 8

func (t *trial) valid() error {
	for _, name := range t.filesystems {
		if _, ok := volumes[name]; !ok {
			return fmt.Errorf("no filesystem %q", name)
		}
	}
	if _, ok := engines[t.engine]; !ok && t.engine != "" {
		return fmt.Errorf("no engine %q", t.engine)
	}
	if t.cutCount < 0 || t.killCount < 1 || t.cutCount > mostCuts*t.killCount {
		return fmt.Errorf("at least one kill for every %d cuts is needed, because a kill ends a writer", mostCuts)
	}
	if os.Geteuid() != 0 {
		return errors.New("only root may mount filesystems")
	}
	return nil
}

// run returns an error if the trial was impossible. Losses are in t.total.
func (t *trial) run() (err error) {
	if err := t.valid(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "powercut")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	served := filepath.Join(dir, "disks")
	t.mount = filepath.Join(dir, "mount")
	if err := errors.Join(os.Mkdir(served, 0o700), os.Mkdir(t.mount, 0o700)); err != nil {
		return err
	}
	if t.server, err = fusedisk.Mount(served); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.server.Close()) }()
	writers, err := t.writings(dir)
	if err != nil {
		return err
	}
	return t.lives(writers)
}

// patience is how long a life may take. It may hang in as many ways as aio can.
const patience = 3 * time.Minute

// writings returns the parameters of the lives, one after the other; dir is for programs.
func (t *trial) writings(dir string) ([]writing, error) {
	if len(t.databases) > 0 {
		return t.databaseModes(dir)
	}
	var all []writing
	for i := range t.killCount {
		k := (i + i/4) % len(t.filesystems) // so that package os gets to each, see engineOf
		all = append(all, writing{filesystem: t.filesystems[k], by: t.engineOf(i)})
	}
	return all, nil
}

// A writing is the filesystem and the writer of a life.
type writing struct {
	filesystem string        // key of volumes
	by         string        // the engine, or the name of the databaseMode
	database   *databaseMode // the writer, if it is not nil
}

// engineOf returns the engine of a life.
func (t *trial) engineOf(i int) string {
	switch {
	case t.engine != "":
		return t.engine
	case i%4 == 3:
		return "os"
	}
	return "aio"
}

// lives runs one writer after the other.
func (t *trial) lives(writings []writing) error {
	bases := make(map[string]*fusedisk.Disk)
	t.total = make(map[string]*outcome)
	r := rand.New(rand.NewPCG(t.seed, 0))
	started := time.Now()
	for i, w := range writings {
		v := volumes[w.filesystem]
		if w.database != nil {
			v.Size = max(v.Size, databaseSize)
		}
		if bases[w.filesystem] == nil {
			var err error
			if bases[w.filesystem], err = v.base(t.server, t.mount); err != nil {
				return err
			}
			t.total[w.filesystem] = new(outcome)
		}
		l := &life{
			trial: t, writing: w, volume: v, number: i, seed: r.Uint64(),
			times: t.cutCount*(i+1)/t.killCount - t.cutCount*i/t.killCount,
		}
		if err := l.guarded(bases[w.filesystem]); err != nil {
			return fmt.Errorf("life %d, %s by %s: %w", i, w.filesystem, l.by, err)
		}
		t.total[w.filesystem].add(l.outcome)
		fmt.Fprintf(t.out, "%3.0f s: ", time.Since(started).Seconds())
		l.report()
	}
	return t.report(time.Since(started))
}

// guarded runs a life, and ends the process with the stacks of all goroutines if that
// hangs.
func (l *life) guarded(base *fusedisk.Disk) error {
	guard := time.AfterFunc(patience, func() {
		os.Stderr.Write(aiotest.Stacks())
		l.server.Abort() // or the process could not end
		panic(fmt.Sprintf("seed %d: life %d has been running for %v", l.trial.seed, l.number, patience))
	})
	defer guard.Stop()
	l.rand, l.plans = rand.New(rand.NewPCG(l.seed, 2)), plans(l.seed)
	if l.database != nil {
		l.plans = []plan{{name: "txcheck", workers: txcheck.Workers}}
	}
	return l.run(base)
}

func (l *life) report() {
	fmt.Fprintf(l.out, "life %d of %d, %s by %s: %d of %d cuts survived, %d records acknowledged, lost: %d\n",
		l.number+1, l.killCount, l.Name, l.by, l.outcome.cuts, l.times, l.acknowledged, len(l.losses))
	for _, text := range l.losses[:min(len(l.losses), 10)] {
		fmt.Fprintln(l.out, "    LOST:", text)
	}
}

func (t *trial) sum() outcome {
	var all outcome
	for _, o := range t.total {
		all.add(*o)
	}
	return all
}

func (t *trial) report(took time.Duration) error {
	for _, name := range t.filesystems {
		if o := t.total[name]; o != nil {
			fmt.Fprintf(t.out, "%s: %d cuts and %d kills survived, %d journals replayed\n", name, o.cuts, o.kills, o.replayed)
		}
	}
	all := t.sum()
	fmt.Fprintf(t.out, `cuts survived: %d of %d; kills survived: %d of %d; %.0f s, seed %d
journals replayed: %d; sectors not flushed, per cut: %d, of which lost: %d
writers killed with a context of kernel AIO: %d; records in flight then: %d; slowest end of a writer: %v
records begun: %d; acknowledged: %d; checked: %d; not acknowledged and there in part: %d
lost: %d
`, all.cuts, t.cutCount, all.kills, t.killCount, took.Seconds(), t.seed,
		all.replayed, all.cached/max(t.cutCount, 1), all.lost/max(t.cutCount, 1),
		all.contexts, all.inFlight, all.slowest.Round(time.Millisecond),
		all.begun, all.acknowledged, all.checked, all.torn,
		len(all.losses))
	if t.cutCount > 0 && (all.replayed == 0 || all.cached == 0) {
		return errors.New("no journal was replayed, or the disk's cache was empty: that was no power cut")
	}
	if all.acknowledged == 0 || all.checked == 0 {
		return errors.New("nothing was acknowledged, or nothing checked")
	}
	return nil
}

package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-aio/aio/internal/aiotest/crashlog"
	"github.com/go-aio/aio/internal/aiotest/trials/fusedisk"
)

// A life is the run of one writer: on a new filesystem, with power cuts, until it is killed. The
// images of the cuts are checked after the end, because xfs does not mount two filesystems of one
// UUID.
type life struct {
	*trial
	writing
	volume
	number int
	times  int // to cut the power
	seed   uint64
	plans  []plan
	rand   *rand.Rand

	images []image
	outcome
}

// An image is a disk after a power cut.
type image struct {
	disk     *fusedisk.Disk
	from, to int64 // the cut was after from and before to, see now
}

// An outcome counts the results.
type outcome struct {
	cuts, kills  int           // survived
	begun        int           // records
	acknowledged int           // records
	checked      int           // records that had to be there, in all images
	torn         int           // other records that are there in part
	replayed     int           // journals
	cached, lost int           // sectors not flushed when the power was cut, and those of them that were lost
	contexts     int           // writers with a context of the kernel when they were killed
	inFlight     int           // records that were being written at that moment
	slowest      time.Duration // to end, after SIGKILL
	losses       []string
}

func (o *outcome) add(more outcome) {
	o.cuts += more.cuts
	o.kills += more.kills
	o.begun += more.begun
	o.acknowledged += more.acknowledged
	o.checked += more.checked
	o.torn += more.torn
	o.replayed += more.replayed
	o.cached += more.cached
	o.lost += more.lost
	o.contexts += more.contexts
	o.inFlight += more.inFlight
	o.slowest = max(o.slowest, more.slowest)
	o.losses = append(o.losses, more.losses...)
}

func (l *life) failed(what string, losses ...string) bool {
	for _, s := range losses {
		l.losses = append(l.losses, fmt.Sprintf("life %d, %s by %s: %s: %s", l.number, l.Name, l.by, what, s))
	}
	return len(losses) > 0
}

// run returns an error if the trial was impossible.
func (l *life) run(base *fusedisk.Disk) error {
	disk := l.server.Cut(base, "disk", l.rand)
	defer l.server.Remove(disk)
	var h *history
	err := onDevice(disk, func(device string) error {
		return l.mounted(device, l.mount, func(dir string) (err error) {
			h, err = l.write(disk, dir)
			return err
		})
	})
	disk.Inject(nil)
	for i, image := range l.images {
		if err == nil {
			err = l.afterCut(i, image, h)
		}
		l.server.Remove(image.disk)
	}
	return err
}

// write starts a writer, cuts the power, and kills the writer.
func (l *life) write(disk *fusedisk.Disk, dir string) (*history, error) {
	if l.database == nil {
		for _, p := range l.plans {
			if err := p.create(dir); err != nil {
				return nil, err
			}
		}
	}
	if err := syncAll(dir); err != nil {
		return nil, err
	}
	if l.loseFlushes {
		disk.Inject(func(r fusedisk.Request) fusedisk.Fault { return fusedisk.Fault{Lose: r.Op == fusedisk.Flush} })
	}
	child, h, err := l.start(dir)
	if err != nil {
		return nil, err
	}
	err = l.cutAll(disk, h)
	if hasContext(child.Process.Pid) {
		l.contexts++
	}
	start := time.Now()
	child.Process.Kill()
	child.Wait()
	l.slowest = time.Since(start)
	<-h.ended
	l.begun, l.acknowledged = h.count(crashlog.Begun), h.count(crashlog.Synced)
	if err != nil {
		return h, err
	}
	l.afterKill(h, dir)
	return h, nil
}

// syncAll is syncfs(2).
func syncAll(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return os.NewSyscallError("syncfs", unix.Syncfs(int(d.Fd())))
}

// start starts the writer.
func (l *life) start(dir string) (*exec.Cmd, *history, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer w.Close()
	child := writer(l.by, l.seed, dir)
	if l.database != nil {
		child = l.database.writer(l.seed, dir)
	}
	child.Stdout, child.Stderr = w, os.Stderr
	if err := child.Start(); err != nil {
		r.Close()
		return nil, nil, err
	}
	return child, listen(r), nil
}

// cutAll cuts the power at random moments.
func (l *life) cutAll(disk *fusedisk.Disk, h *history) error {
	for i := range l.times {
		if err := l.moment(h); err != nil {
			return err
		}
		awaitUnflushed(disk)
		from := crashlog.Now()
		cut := l.server.Cut(disk, "cut"+strconv.Itoa(i), l.rand)
		l.images = append(l.images, image{cut, from, crashlog.Now()})
		cached, lost := cut.Lost()
		l.cached += cached
		l.lost += lost
	}
	return l.moment(h)
}

// awaitUnflushed waits until a power cut could lose something, for writers that are often in
// fsync(2) all at the same time; but only for some time.
func awaitUnflushed(disk *fusedisk.Disk) {
	for deadline := time.Now().Add(5 * time.Second); !disk.Unflushed() && time.Now().Before(deadline); {
		time.Sleep(50 * time.Microsecond)
	}
}

// moment waits for a moment: any, or the one right after an acknowledgement.
func (l *life) moment(h *history) error {
	time.Sleep(time.Duration(l.rand.IntN(500)) * time.Millisecond)
	if l.rand.IntN(2) == 0 && len(l.images) > 0 {
		select {
		case <-h.ended:
			return h.ending()
		default:
			return nil
		}
	}
	return h.next()
}

// afterKill checks the filesystem, which the kill did not affect.
func (l *life) afterKill(h *history, dir string) {
	what := fmt.Sprintf("killed after %d records", l.begun)
	bad := l.slowest > atOnce && l.failed(what, fmt.Sprintf("the writer has ended only after %v", l.slowest))
	c := l.look(dir, h.end(l.plans), true)
	l.checked += c.checked
	l.torn += c.torn
	l.inFlight = c.known.between()
	if !l.failed(what, c.losses...) && !bad {
		l.outcome.kills++
	}
}

// atOnce is how long a process may take to end. Its system calls must end first, such as an
// fsync(2) behind those of all other goroutines.
const atOnce = 10 * time.Second

// afterCut checks the image of a cut.
func (l *life) afterCut(i int, image image, h *history) error {
	what := fmt.Sprintf("cut %d", i)
	return onDevice(image.disk, func(device string) error {
		dirty, err := l.dirty(device)
		if err != nil {
			return err
		}
		var c check
		err = l.mounted(device, l.mount, func(dir string) error {
			c = l.look(dir, h.cut(l.plans, image.from, image.to), false)
			return nil
		})
		if err == nil {
			err = l.check(device)
		}
		if err != nil {
			c.lost("%v", err)
		}
		if dirty {
			l.replayed++
		}
		l.checked += c.checked
		l.torn += c.torn
		if !l.failed(what, c.losses...) {
			l.outcome.cuts++
		}
		return nil
	})
}

// look checks the files in a directory.
func (l *life) look(dir string, known knowledge, killed bool) check {
	c := check{plans: l.plans, known: known, seed: l.seed, engine: l.by, killed: killed}
	if l.database != nil {
		l.database.check(&c, dir, l.rand)
	} else {
		c.dir(dir, l.rand)
	}
	return c
}

// hasContext reports whether a process has a context of kernel AIO: its ring is mapped.
func hasContext(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	return err == nil && strings.Contains(string(text), "/[aio]")
}

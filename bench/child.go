//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// patience is how long past its time a round may take before its worker counts as hung.
const patience = 60 * time.Second

// A child is a worker, on the side of its parent.
type child struct {
	engine   engine
	patience time.Duration
	direct   bool // reported by the worker

	cmd     *exec.Cmd
	stdin   io.WriteCloser
	answers chan answer   // closed when the worker's output ends
	exited  chan struct{} // closed after the process has been waited for
	err     error         // the result of Wait; read after exited is closed
	stderr  headBuffer
}

// A hangError reports a worker that did not answer in time.
type hangError struct {
	engine engine
	after  time.Duration
	stacks string
}

func (e *hangError) Error() string {
	return fmt.Sprintf("%s: no answer for %v, killed", e.engine, e.after)
}

// workerCommand starts this program again. /proc/self/exe is the same file even if go run has
// removed it meanwhile.
func workerCommand() *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = os.Args[:1]
	cmd.Env = append(os.Environ(), workerEnv+"=1")
	return cmd
}

// dieWithParent asks the kernel to kill the child when the thread that started it ends. For that
// reason main stays on one thread.
func dieWithParent(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
}

// startChild returns when the worker has opened its file.
func startChild(ctx context.Context, cmd *exec.Cmd, j job) (*child, error) {
	c := &child{
		engine:   j.Engine,
		patience: patience,
		cmd:      cmd,
		answers:  make(chan answer, 1),
		exited:   make(chan struct{}),
	}
	dieWithParent(cmd)
	cmd.Stderr = &c.stderr
	var err error
	if c.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting a worker: %w", err)
	}
	go c.listen(stdout)
	a, err := c.ask(ctx, j, 0)
	if err != nil {
		c.kill()
		return nil, err
	}
	c.direct = a.Direct
	return c, nil
}

// listen passes answers on until the worker is gone.
func (c *child) listen(stdout io.Reader) {
	in := json.NewDecoder(stdout)
	for {
		var a answer
		if err := in.Decode(&a); err != nil {
			break
		}
		c.answers <- a
	}
	close(c.answers)
	c.err = c.cmd.Wait()
	close(c.exited)
}

// ask sends one line and waits for its answer, which is due in expected.
func (c *child) ask(ctx context.Context, line any, expected time.Duration) (answer, error) {
	// An error means that the worker has ended; the closed channel tells more about it.
	_ = json.NewEncoder(c.stdin).Encode(line)
	late := time.NewTimer(expected + c.patience)
	defer late.Stop()
	select {
	case a, ok := <-c.answers:
		if !ok {
			return answer{}, c.obituary()
		}
		if a.Error != "" {
			return answer{}, fmt.Errorf("%s: %s", c.engine, a.Error)
		}
		return a, nil
	case <-late.C:
		return answer{}, c.dump()
	case <-ctx.Done():
		return answer{}, context.Cause(ctx)
	}
}

// measure runs one round.
func (c *child) measure(ctx context.Context, index int, d time.Duration) (round, error) {
	threads := sampleThreads(c.cmd.Process.Pid)
	a, err := c.ask(ctx, order{Duration: d}, d)
	threads.see(a.Threads)
	peak := threads.end()
	if err != nil {
		return round{}, err
	}
	h, err := decodeLatency(a.Latency)
	delay, errDelay := decodeLatency(a.Delay)
	if err := errors.Join(err, errDelay); err != nil {
		return round{}, fmt.Errorf("%s: latencies: %w", c.engine, err)
	}
	r := newRound(index, a.Ops, a.Elapsed, a.CPU, peak, h)
	r.Cached, r.BusyShare, r.Delay = a.Cached, a.BusyShare, delay.percentiles()
	r.Work = float64(a.Work) / a.Elapsed.Seconds()
	if a.Offered > 0 {
		r.Served = float64(a.Ops) / float64(a.Offered)
	}
	return r, nil
}

// obituary describes how a worker ended that should not have.
func (c *child) obituary() error {
	<-c.exited
	err := c.err
	if err == nil {
		err = errors.New("ended too early")
	}
	if text := firstLine(c.stderr.String()); text != "" {
		return fmt.Errorf("%s: worker: %w: %s", c.engine, err, text)
	}
	return fmt.Errorf("%s: worker: %w", c.engine, err)
}

// dump ends a worker that hangs, after it has had the time to print its stacks.
func (c *child) dump() error {
	_ = c.cmd.Process.Signal(syscall.SIGQUIT)
	select {
	case <-c.exited:
	case <-time.After(3 * time.Second):
	}
	c.kill()
	return &hangError{engine: c.engine, after: c.patience, stacks: c.stderr.String()}
}

// close lets the worker end by itself: at the end of its input.
func (c *child) close() {
	_ = c.stdin.Close()
	select {
	case <-c.exited:
	case <-time.After(5 * time.Second):
		c.kill()
	}
}

// kill ends the worker now. A process that is stuck in the kernel outlives it, and waiting for that
// one would not help.
func (c *child) kill() {
	_ = c.stdin.Close()
	_ = c.cmd.Process.Kill()
	go func() { // an answer may still come
		for range c.answers {
		}
	}()
	select {
	case <-c.exited:
	case <-time.After(5 * time.Second):
	}
}

// A headBuffer keeps the beginning of its input: of a thousand stacks the first ones are enough.
type headBuffer struct {
	mu  sync.Mutex
	buf []byte
}

const headSize = 64 << 10

func (b *headBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf = append(b.buf, p[:min(len(p), headSize-len(b.buf))]...)
	return len(p), nil
}

func (b *headBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.buf)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

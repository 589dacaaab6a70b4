package main

// A mutation is a bug that one suite must find.
type mutation struct {
	name     string
	file     string // in the repository
	old, new string // old occurs once
	suite    suite
}

// A suite runs tests, or a program.
type suite struct {
	name string
	args []string // of go
}

func tests(name, pkg, run string) suite {
	return suite{name, []string{"test", "-count=1", "-timeout=3m", "-run=" + run, root + pkg}}
}

func program(name string, args ...string) suite {
	return suite{name, append([]string{"run", root + "/internal/aiotest/trials/" + name}, args...)}
}

// databases cuts the power of a database in each mode of its adapter.
func databases(adapter string) suite {
	return program("powercut", "-databases", adapter, "-cuts", "24", "-kills", "12", "-seed", "1")
}

const root = "github.com/go-aio/aio"

var mutations = []mutation{
	{
		"an error has another Op", "reader.go",
		`	n, err := d.ReadAt(fd.One(p), off)
	return n, f.wrapErr("read", err)`, `	n, err := d.ReadAt(fd.One(p), off)
	return n, f.wrapErr("pread", err)`,
		tests("contract", "", "^TestContract$"),
	},
	{
		"a direct write without enough space writes nothing", "internal/fd/write.go",
		`case syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG:`, `case syscall.EDQUOT:`,
		tests("contract", "", "^TestFullFilesystem$"),
	},
	{
		"the direct descriptor is not closed", "internal/fd/fd.go",
		`		fd.direct.Close()
`, ``,
		tests("lifetime", "/internal/aiotest/lifetime", "."),
	},
	{
		"a bounced read returns more than the file has", "internal/fd/read.go",
		`return b.Scatter(block[skip:n]), nil`, `return b.Scatter(block[skip:]), nil`,
		tests("model", "/internal/aiotest/model", "."),
	},
	{
		"the size is rounded up", "internal/fd/write.go",
		`n, err = fd.file.WriteAt(p, off)`,
		`n, err = fd.file.WriteAt(append(append([]byte(nil), p...), make([]byte, -len(p)&511)...), off)
		n = min(n, len(p))`,
		tests("model", "/internal/aiotest/model", "."),
	},
	{
		"the bounce buffer is not filled before a write", "internal/fd/write.go",
		`			b.Gather(block)
`, ``,
		tests("model", "/internal/aiotest/model", "."),
	},
	{
		"no lock table", "internal/inode/locks.go",
		`	case others == 0: `, `	case others >= 0: `,
		tests("concurrency", "/internal/aiotest/concurrency", "."),
	},
	{
		"buffered and direct writes do not wait for each other", "internal/inode/locks.go",
		`		return a.Lo/g <= (b.Hi-1)/g && b.Lo/g <= (a.Hi-1)/g`, `		return g == 0`,
		tests("linearizability", "/internal/aiotest/trials/linearizability", "."),
	},
	{
		"EIO of a direct write is left to the page cache", "internal/fd/write.go",
		`case syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG:`, `case syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG, syscall.EIO:`,
		tests("faults", "/internal/aiotest/trials/faults", "^TestWriteError$"),
	},
	{
		"Sync does nothing when little is in flight", "internal/fd/sync.go",
		`		defer c.Leave()
		return fd.syncCall(op)`, `		defer c.Leave()
		return nil`,
		program("powercut"),
	},
	{
		"a short submit ends the batch", "internal/queue/submit.go",
		`			continue // a short submit: the next call tells why`, `			return`,
		tests("queue", "/internal/queue", "."),
	},
	{
		"EINTR is passed on", "libaio/events.go",
		`case errno == 0 || errno == syscall.EINTR:`, `case errno == 0:`,
		tests("libaio", "/libaio", "."),
	},
	{
		"an event is dropped now and then", "internal/queue/reap.go",
		`		s.finish(events[i].Res)
`, `		if events[i].Data != 7 || runtime.NumGoroutine()%31 > 0 {
			s.finish(events[i].Res)
		}
`,
		program("soak", "-for=1m"),
	},
	{
		"a Reader keeps the blocks ahead of an error", "stream/reader.go",
		`			err := b.err
			r.restart()
`, `			err := b.err
			r.first, r.ahead = (r.first+1)%len(r.blocks), r.ahead-1
`,
		tests("streams", "/stream", "."),
	},
	{
		"a Writer extends the file in any order", "stream/writer.go",
		`	case b.end() > w.size:
		return true
`, ``,
		tests("streams", "/stream", "."),
	},
	{
		"a Writer writes nothing more before an error", "stream/writer.go",
		`if w.err == nil || b.first() < w.errOff {`, `if w.err == nil {`,
		tests("faults", "/internal/aiotest/trials/faults", "^TestStreamWriteError$"),
	},
	{
		"an exclusive Writer's blocks overtake each other", "stream/writer.go",
		`return before.end() > b.base+int64(w.down(b.lo))`, `return before == nil`,
		tests("streams", "/stream", "."),
	},
	{
		"Sync of a Writer only flushes", "stream/writer.go",
		`		err := w.f.Datasync()
`, `		var err error
`,
		program("powercut", "-seed", "1"),
	},
	{
		"the reaper returns to the poller before quiet completions", "internal/queue/reap.go",
		`return q.quiet.Load() == 0 || !q.collecting.CompareAndSwap(false, true)`, `return true`,
		tests("queue", "/internal/queue", "^TestCollect"),
	},
	{
		"a semaphore grants a unit too many", "internal/sched/semaphore.go",
		`		if state&1 != 0 || state>>1+units > s.limit {`, `		if state&1 != 0 || state>>1+units > s.limit+1 {`,
		tests("sched", "/internal/sched", "^TestSemaphore"),
	},
	{
		"a later Acquire overtakes an earlier one", "internal/sched/semaphore.go",
		`		if state&1 != 0 || state>>1+units > s.limit {`, `		if state>>1+units > s.limit {`,
		tests("sched", "/internal/sched", "^TestSemaphore"),
	},
	{
		"when the context of an Acquire ends, no unit goes to those behind it", "internal/sched/semaphore.go",
		`	s.grant() // those behind may need less
`, ``,
		tests("sched", "/internal/sched", "^TestSemaphore"),
	},
	{
		"of several buffers a partly filled one is filled again", "internal/queue/request.go",
		`	b.first = b.first[n:]
`, ``,
		tests("contract", "", "^TestContract$"),
	},
	{
		"a read after PunchHole returns the bytes before it", "internal/fd/space.go",
		`			fd.inode.Forget(0, math.MaxInt64)
`, ``,
		tests("allocation", "", "^TestReadOfDirtyPages$"),
	},
	{
		"a later write does not wait for an abandoned one", "internal/inode/abandoned.go",
		`l.wait(lo, hi, math.MaxUint64)`, `l.wait(lo, lo, math.MaxUint64)`,
		tests("contexts", "", "^TestContext"),
	},
	{
		"an abandoned read has the caller's buffer", "completion.go",
		`	read := func() (int, error) { return f.ReadAt(buf, off) }`, `	read := func() (int, error) { return f.ReadAt(p, off) }`,
		tests("contexts", "", "^TestContext"),
	},
	{
		"the error of an abandoned Sync is lost", "internal/fd/sync.go",
		`		fd.syncErr.Store(&err)
`, ``,
		tests("faults", "/internal/aiotest/trials/faults", "^TestErrorOfAbandonedSync$"),
	},
	{
		"a Batch goes on after a barrier although a member failed", "batch.go",
		`		if first == nil {
			first = b.run(lo, hi)`, `		if err := b.run(lo, hi); err != nil || first == nil {
			first = err`,
		tests("batches", "", "^TestBatch"),
	},
	{
		"a short member of a Batch is not finished", "internal/fd/group.go",
		`case m.err == nil && m.n == len(m.p):`, `case m.err == nil:`,
		tests("batches", "", "^TestBatch"),
	},
	{
		"a copy to a buffered File takes no lock", "reader.go",
		`			return to.ReadFrom(f) // which keeps to the locks of to
`, `			w = to.file
`,
		tests("contract", "", "^TestCopyWaits$"),
	},
	{
		"Close turns a transfer into an error", "internal/fd/read.go",
		`if errors.Is(err, fs.ErrClosed) {`, `if errors.Is(err, fs.ErrExist) {`,
		tests("contract", "", "^TestCloseMeanwhile$"),
	},
	{
		"an exclusive Writer's zeros keep the last room", "stream/log.go",
		`		_ = w.f.Truncate(w.size)
`, ``,
		tests("streams", "/stream", "^TestLastRoom$"),
	},
	{
		"after a Batch no goroutine collects the quiet completions", "internal/queue/group.go",
		`	if !q.stopCollecting() {
		go q.collectFn()
		return
	}
`, `	if !q.stopCollecting() {
		return
	}
`,
		tests("queue", "/internal/queue", "^TestGroup"),
	},
	{
		"no request is a system call because processors are busy", "internal/queue/queue.go",
		`	if !q.Busy() {
		return false`, `	if !q.Busy() || q.depth > 0 {
		return false`,
		tests("concurrency", "/internal/aiotest/concurrency", "^TestBusyProcessors$"),
	},
	{
		"processors are busy beside a crowd", "internal/queue/busy.go",
		`return took >= lateFrom && requests < int64(took/flowEvery)`, `return took >= lateFrom && requests >= 0`,
		tests("queue", "/internal/queue", "^TestBusy"),
	},
	{
		"a submitter after EAGAIN waits for a stuck one", "internal/queue/submit.go",
		`	q.watchSubmitters(k)
	return true`, `	return true`,
		tests("queue", "/internal/queue", "^TestStalled"),
	},
	{
		"sweep gives up while the ring cannot be read", "internal/queue/reap.go",
		`		if err == errGone {`, `		if err != nil {`,
		tests("queue", "/internal/queue", "^TestSweep"),
	},
	{
		"Head returns all of the buffers", "internal/queue/request.go",
		`	b.n = min(b.n, n)
`, ``,
		tests("queue", "/internal/queue", "Buffers"),
	},
	{
		"a second descriptor may be of another file", "internal/dio/dio_linux.go",
		`		return errAnotherFile`, `		return nil`,
		tests("dio", "/internal/dio", "^TestOpenWith|^TestSameFile$"),
	},
	{
		"a /proc that is no procfs is used", "internal/dio/dio_linux.go",
		`	if fs.Type != unix.PROC_SUPER_MAGIC {`, `	if fs.Type == 0 {`,
		tests("dio", "/internal/dio", "^TestOpenWith|^TestSameFile$"),
	},
	{
		"another context gets the address that a call uses", "libaio/context.go",
		`	if live.contexts[c.id] != nil {`, `	if false {`,
		tests("libaio", "/libaio", "^TestDestroyOvertakesACall$"),
	},
	{
		"a sync of Pebble's exclusive log only flushes", "adapters/pebble/file.go",
		`func (f *writerFile) SyncData() error { return f.w.Sync() }`, `func (f *writerFile) SyncData() error { return f.w.Flush() }`,
		databases("pebble"),
	},
	{
		"SQLite's database is not synced", "adapters/sqlite/file.go",
		`	return f.aio.Datasync()`, `	return nil`,
		databases("sqlite"),
	},
	{
		"a sync of goleveldb's tables only flushes", "adapters/goleveldb/table.go",
		`{ return t.w.Sync() }`, `{ return t.w.Flush() }`,
		databases("goleveldb"),
	},
	{
		"raft-wal's segments are not synced", "adapters/raftwal/file.go",
		`		return f.f.Datasync()`, `		return nil`,
		databases("raftwal"),
	},
}

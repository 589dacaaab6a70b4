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
		`return b.Scatter(block.Bytes[skip:n]), nil`, `return b.Scatter(block.Bytes[skip:]), nil`,
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
		`			b.Gather(block.Bytes)
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
		`		defer fd.device.LeaveSync(c)
		return fd.syncCall(op)`, `		defer fd.device.LeaveSync(c)
		return nil`,
		program("powercut"),
	},
	{
		"a short submit ends the batch", "internal/queue/submit.go",
		`			continue // a short submit: the next call tells why`, `			return true`,
		tests("queue", "/internal/queue", "^TestShortSubmit|^TestFullContext"),
	},
	{
		"EINTR is passed on", "libaio/events.go",
		`case errno == 0 || errno == syscall.EINTR:`, `case errno == 0:`,
		tests("libaio", "/libaio", "."),
	},
	{
		"an event is dropped now and then", "internal/queue/collect.go",
		`		s.finish(events[i].Res)
`, `		if runtime.NumGoroutine()%31 > 0 {
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
		"the reaper returns to the poller before quiet completions", "internal/queue/collect.go",
		`bool { return c.word.CompareAndSwap(token, 0) }`, `bool { return c.word.Add(-token) >= 0 }`,
		tests("queue", "/internal/queue", "^TestCollect"),
	},
	{
		"a semaphore grants a unit too many", "internal/sched/semaphore.go",
		`		if w&usedMask+n > w>>leaseShift {`, `		if w&usedMask+n > w>>leaseShift+1 {`,
		tests("sched", "/internal/sched", "^TestSemaphoreIsFirst"),
	},
	{
		"a later Acquire overtakes an earlier one", "internal/sched/semaphore.go",
		`	if s.waiting.Load() > 0 {`, `	if false {`,
		tests("sched", "/internal/sched", "^TestSemaphore"),
	},
	{
		"when the context of an Acquire ends, no unit goes to those behind it", "internal/sched/semaphore.go",
		`	s.sem.grant() // the calls behind may need less
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
		`	read := func() (int, error) { return f.ReadAt(buf.Bytes, off) }`, `	read := func() (int, error) { return f.ReadAt(p, off) }`,
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
		`case err == nil && n == len(m.p):`, `case err == nil:`,
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
		"after a Batch no goroutine collects the quiet completions", "internal/queue/collect.go",
		`	go q.collector.collectFn()
}
`, `}
`,
		tests("queue", "/internal/queue", "^TestGroup"),
	},
	{
		"no request is a system call because processors are busy", "internal/queue/lane.go",
		`	if !l.q.Busy() {
		return false`, `	if !l.q.Busy() || l.q.depth > 0 {
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
		`	l.relief.Reset(stallFor)
`, ``,
		tests("queue", "/internal/queue", "^TestStalled"),
	},
	{
		"sweep gives up while the ring cannot be read", "internal/queue/collect.go",
		`		if err == errGone {`, `		if err != nil {`,
		tests("queue", "/internal/queue", "^TestSweep"),
	},
	{
		"a request that finds no room for a submitter sets no relief timer", "internal/queue/lane.go",
		`		l.watch(l.stuckAfter)
		l.mu.Unlock()
		return false`, `		l.mu.Unlock()
		return false`,
		tests("queue", "/internal/queue", "^TestStuck"),
	},
	{
		"a submitter leaves requests pending without the relief timer", "internal/queue/submit.go",
		`	if l.pending.len() > 0 {
		l.watch(l.stuckAfter)
	}
	l.mu.Unlock()
}`, `	l.mu.Unlock()
}`,
		tests("queue", "/internal/queue", "^TestStuck"),
	},
	{
		"after EAGAIN requests wait as long as for a stuck submitter", "internal/queue/submit.go",
		`	l.watched, l.seen = true, l.pushes
	l.relief.Reset(stallFor)
`, ``,
		tests("queue", "/internal/queue", "^TestStalled"),
	},
	{
		"a quiet completion does not hold the token", "internal/queue/collect.go",
		`	relies := q.collector.rely(len(slots))`, `	relies := q.collector.held()`,
		tests("queue", "/internal/queue", "^TestCollect"),
	},
	{
		"a goroutine that has given the token up does not look at the ring", "internal/queue/collect.go",
		`	q.drain(events)
}`, `}`,
		tests("queue", "/internal/queue", "^TestCollect"),
	},
	{
		"the owner of a group does not rely on the goroutine that collects", "internal/queue/group.go",
		`	for g.quiet && !collects && !g.relies {`, `	for false {`,
		tests("queue", "/internal/queue", "^TestGroup"),
	},
	{
		"an owner that may not collect does not rely on the goroutine that does", "internal/queue/collect.go",
		`	g.relies = q.collector.rely(1)
`, ``,
		tests("queue", "/internal/queue", "^TestGroup"),
	},
	{
		"the owner of a group on a device that hangs keeps the token", "internal/queue/collect.go",
		` || idle == maxIdle)`, `)`,
		tests("queue", "/internal/queue", "^TestOwnerOfAHungGroup$"),
	},
	{
		"the Done of a group is not called", "internal/queue/queue.go",
		`	if g.Done != nil {
		g.Done(s.index)
	}
`, ``,
		tests("queue", "/internal/queue", "^TestGroup"),
	},
	{
		"a device may have all that the others leave", "internal/sched/semaphore.go",
		`	most := (left + 1) / 2`, `	most := left`,
		tests("sched", "/internal/sched", "^TestSharesStress"),
	},
	{
		"a device gives back a lease that is in use", "internal/sched/semaphore.go",
		`CompareAndSwap(w, max(n, used)<<leaseShift|used)`, `CompareAndSwap(w, n<<leaseShift|used)`,
		tests("sched", "/internal/sched", "^TestShares"),
	},
	{
		"all devices have the threads of one", "internal/sched/device.go",
		`		threads:  process.threads.Share(0),
		bounce:   process.bounce.Share(0),
		copies:   process.copies.Share(0),
	}
}`, `		threads:  threadsOfAll,
		bounce:   process.bounce.Share(0),
		copies:   process.copies.Share(0),
	}
}

var threadsOfAll = process.threads.Share(0)`,
		tests("sched", "/internal/sched", "^TestThreads"),
	},
	{
		"a write that extends its file takes no thread", "internal/sched/sched.go",
		`	d.threads.Acquire(1)
	defer d.threads.Release(1)
	return Transfer(r)`, `	return Transfer(r)`,
		tests("sched", "/internal/sched", "^TestThreads"),
	},
	{
		"a bounce buffer is not given back", "internal/fd/bounce.go",
		`	d.ReleaseBounce(cap(b.Bytes))
`, ``,
		tests("bounce", "/internal/fd", "^TestBounce"),
	},
	{
		"a bounce buffer is given back as what was used of it", "internal/fd/bounce.go",
		`	d.ReleaseBounce(cap(b.Bytes))`, `	d.ReleaseBounce(len(b.Bytes))`,
		tests("bounce", "/internal/fd", "^TestBounce"),
	},
	{
		"a member of a Batch is locked until all are done", "internal/fd/group.go",
		`	if g.group.Done == nil {
		g.group.Done = g.done
	}
	if len(g.members) > 0 {
		g.device.Run(&g.group)
	}`, `	if len(g.members) > 0 {
		g.device.Run(&g.group)
	}
	for i := range g.members {
		g.done(i)
	}`,
		tests("groups", "/internal/fd", "^TestGroup"),
	},
	{
		"a member of a Batch is never unlocked", "internal/fd/group.go",
		`		m.fd.inode.Unlock(m.lockRange())
`, ``,
		tests("groups", "/internal/fd", "^TestGroup"),
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

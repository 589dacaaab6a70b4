package main

// A mutation is a bug that one suite is to find.
type mutation struct {
	name     string
	file     string // in the repository
	old, new string // old occurs once
	suite    suite
}

// A suite is tests, or a program.
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
		`f.wrapErr("read", err)`, `f.wrapErr("pread", err)`,
		tests("contract", "", "^TestContract$"),
	},
	{
		"a direct write without enough space is not written as far as it fits", "writer.go",
		`case syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG:`, `case syscall.EDQUOT:`,
		tests("contract", "", "^TestFullFilesystem$"),
	},
	{
		"the twin is not closed", "file.go",
		`		h.twin.Close()
`, ``,
		tests("lifetime", "/internal/aiotest/lifetime", "."),
	},
	{
		"a bounced read gives more than there is in the file", "reader.go",
		`return take(block[skip:got]), nil`, `return take(block[skip:]), nil`,
		tests("model", "/internal/aiotest/model", "."),
	},
	{
		"the size is rounded up", "writer.go",
		`m, err = f.plain.WriteAt(p[n:], off+int64(n))`,
		`m, err = f.plain.WriteAt(append(append([]byte(nil), p[n:]...), make([]byte, -(len(p)-n)&511)...), off+int64(n))
		m = min(m, len(p)-n)`,
		tests("model", "/internal/aiotest/model", "."),
	},
	{
		"the bounce buffer is not filled before a write", "writer.go",
		`	copy(block, p)
`, ``,
		tests("model", "/internal/aiotest/model", "."),
	},
	{
		"no lock table", "internal/inode/locks.go",
		`	if !l.blocked(r, l.waiting) {`, `	if true {`,
		tests("concurrency", "/internal/aiotest/concurrency", "."),
	},
	{
		"buffered and direct writes do not wait for each other", "internal/inode/locks.go",
		`		return a.Lo/g <= (b.Hi-1)/g && b.Lo/g <= (a.Hi-1)/g`, `		return g == 0`,
		tests("linearizability", "/internal/aiotest/trials/linear", "."),
	},
	{
		"EIO of a direct write is left to the page cache", "writer.go",
		`case syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG:`, `case syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG, syscall.EIO:`,
		tests("faults", "/internal/aiotest/trials/faults", "^TestWriteError$"),
	},
	{
		"Sync does nothing when little is in flight", "completion.go",
		`		e.counts.synchronous.add()
		return f.syncPlain(e, plain)`, `		e.counts.synchronous.add()
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
			r.retire(b)
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
		"the reaper goes back to the poller before all that does not ring has come", "internal/queue/reap.go",
		`return q.silent.Load() == 0 || !q.collecting.CompareAndSwap(false, true)`, `return true`,
		tests("queue", "/internal/queue", "^TestCollect"),
	},
	{
		"a device gives a turn too many", "completion.go",
		`	if t.calls.Add(1) > t.limit {`, `	if t.calls.Add(1) > t.limit+1 {`,
		tests("device", "", "^TestTurns"),
	},
	{
		"of several buffers one that was filled in part is filled again", "vector.go",
		`		v.bufs[0] = v.bufs[0][n:]
`, ``,
		tests("contract", "", "^TestContract$"),
	},
	{
		"what was just written is read after PunchHole", "writer.go",
		`		f.h.inode.Forget(0, math.MaxInt64)
`, ``,
		tests("allocation", "", "."),
	},
	{
		"a later write does not wait for one that was given up", "internal/inode/leftover.go",
		`l.wait(lo, hi, math.MaxUint64)`, `l.wait(lo, lo, math.MaxUint64)`,
		tests("contexts", "", "^TestContext"),
	},
	{
		"a read that was given up has the caller's buffer", "op.go",
		`return f.ReadAt(buf, off) }, free)`, `return f.ReadAt(p, off) }, free)`,
		tests("contexts", "", "^TestContext"),
	},
	{
		"the error of a Sync that was given up is lost", "op.go",
		`		f.h.syncErr.Store(&op.err)
`, ``,
		tests("faults", "/internal/aiotest/trials/faults", "^TestSyncErrorNobodyWaitedFor$"),
	},
	{
		"a Batch runs on after a barrier behind which something failed", "batch.go",
		`		if first == nil {
			first = b.run(lo, hi)`, `		if err := b.run(lo, hi); err != nil || first == nil {
			first = err`,
		tests("batches", "", "^TestBatch"),
	},
	{
		"a member of a Batch that fell short is not finished", "batch.go",
		`case m.err == nil && m.n == len(m.p):`, `case m.err == nil:`,
		tests("batches", "", "^TestBatch"),
	},
	{
		"a copy to a plain File goes past its locks", "reader.go",
		`			return to.ReadFrom(f) // which keeps to the locks of to
`, `			w = to.plain
`,
		tests("contract", "", "^TestCopyWaits$"),
	},
	{
		"Close makes an error of what has been transferred", "reader.go",
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
		"nobody collects after a Batch what does not ring", "internal/queue/group.go",
		`	if !q.disperse() {
		go q.collector()
		return
	}
`, `	if !q.disperse() {
		return
	}
`,
		tests("queue", "/internal/queue", "^TestGroup"),
	},
	{
		"another context gets the address that a call is on its way to", "libaio/context.go",
		`	return live.leaving[id] != nil`, `	return false`,
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

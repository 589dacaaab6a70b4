package main

// planted are bugs of the queue that some order of a program must show: at least one for each
// invariant that is stated in internal/queue.
var planted = []bug{
	// A quiet completion implies that a goroutine has the token.
	{
		"the token is given up although a request relies on it", "two Do, the reaper collects", "collect.go",
		`return c.word.CompareAndSwap(token, 0) }`, `c.word.Store(0); return true }`,
	},
	{
		"arm looks at the token, and then counts", "two Do, the reaper collects", "collect.go",
		`relies := q.collector.rely(len(slots))`,
		`relies := q.collector.held()
	if relies {
		q.collector.word.Add(int64(len(slots)) * quiet)
	}`,
	},
	{
		"a request that is pending again counts as quiet", "two Do, the reaper collects, EAGAIN", "submit.go",
		"		l.q.clearQuiet(slots[i])\n		l.pending", "		l.pending",
	},
	// The token is taken by take, and one goroutine has it at a time.
	{
		"take looks, and then takes", "two small groups", "collect.go",
		`return c.word.CompareAndSwap(0, token) }`,
		`if c.word.Load() != 0 { return false }; c.word.Store(token); return true }`,
	},
	// It passes from one goroutine to another by a go statement only.
	{
		"the token is left to the reaper", "small group and Do, one P", "collect.go",
		"	go q.collector.collectFn()\n}", "	q.kernel.ring()\n}",
	},
	// A goroutine that has given it up looks at the ring once more.
	{
		"the ring is not looked at after the token was given up", "small group and Do, one P", "collect.go",
		"	}\n	q.drain(events)\n}\n", "	}\n}\n",
	},
	// While requests of a group are not done, its owner is about to submit or to collect, has
	// the token, or relies on the goroutine that has it.
	{
		"the owner of a group does not rely on the goroutine that collects", "two small groups", "group.go",
		`		if g.relies = c.rely(1); !g.relies {
			collects = c.take()
		}
`, `		break
`,
	},
	{
		"the owner that hands the token over does not rely", "small group and Do, two timeouts", "collect.go",
		"	g.relies = q.collector.rely(1)\n", "",
	},
	{
		"a group that is done is relied on for ever", "two small groups", "group.go",
		"		q.collector.unrely(1)\n	}\n	g.done", "	}\n	g.done",
	},
	{
		"the owner takes the token before it submits", "^small group and Do, one is stuck", "group.go",
		"	l.mu.Lock()\n	g.given = false\n",
		"	if g.quiet && l.q.collector.take() {\n		defer l.q.collector.release()\n	}\n	l.mu.Lock()\n	g.given = false\n",
	},
	// While Lane.mu is not held, a pending request implies that the relief timer is set.
	{
		"stall does not note that the timer is needed", "two Do, EAGAIN", "submit.go",
		"	l.watched, l.seen = true, l.pushes\n	l.relief.Reset(stallFor)\n", "",
	},
	{
		"stall does not set the timer", "two Do, EAGAIN", "submit.go",
		"	l.relief.Reset(stallFor)\n", "",
	},
	{
		"a caller without a place does not set the timer", "two Do, one P", "lane.go",
		"		l.watch(l.stuckAfter)\n", "",
	},
	{
		"a submitter that makes its call leaves requests without the timer",
		"two Do and a small group, one P, EAGAIN", "submit.go",
		"	if l.pending.len() > 0 {\n		l.watch(l.stuckAfter)\n	}\n	l.mu.Unlock()\n}", "	l.mu.Unlock()\n}",
	},
	{
		"a relief that finds its lane stuck does not set the timer again", "three Do, one is stuck", "submit.go",
		"		l.watch(l.stuckAfter)\n		if !stuck", "		if !stuck",
	},
	{
		"no relief comes", "three Do, one is stuck", "submit.go",
		"if !stuck || l.submitting", "if stuck || l.submitting",
	},
	// One io_submit(2) carries requests of one device, and of one group.
	{
		"a request goes the way of another lane", "two lanes", "lane.go",
		"	l.mu.Lock()\n	l.pending.push(s)\n", "	l = l.q.lanes[0]\n	l.mu.Lock()\n	l.pending.push(s)\n",
	},
	{
		"a group shares a call", "two Do and a small group, one P$", "submit.go",
		"	case s.group != b.slots[0].group:\n		return false\n", "",
	},
	// Lane.mu is never held across a system call, nor with another lock.
	{
		"a submitter keeps the lock during its call", "two Do, one P", "submit.go",
		"		l.unlock()\n		all := l.push(b)\n", "		all := l.push(b)\n		l.unlock()\n",
	},
	{
		"two locks at once", "small group and Do, a timeout", "queue.go",
		"	lanes := q.lanes\n	q.mu.Unlock()\n	for _, l := range lanes {\n",
		"	lanes := q.lanes\n	defer q.mu.Unlock()\n	for _, l := range lanes {\n",
	},
	// On return of submit its caller is not counted in submitting.
	{
		"a submitter keeps its place", "two Do, one P", "submit.go",
		"	l.submitting--\n", "",
	},
	{
		"a submitter whose request is done leaves those of others", "three Do$", "submit.go",
		"			go l.submitFn()\n			return\n", "			return\n",
	},
	// A request that the kernel does not take is refused, alone.
	{
		"a refusal is that of all", "EINVAL", "submit.go",
		"				res = -int64(errno)\n", "				res, refused = -int64(errno), len(slots)\n",
	},
	// The goroutine that waits for a request owns its slot once it is done.
	{
		"a slot is given back before its request is done", "Do twice and Do", "lane.go",
		"	<-s.done\n	n, err := s.result()\n	s.free()\n",
		"	s.free()\n	<-s.done\n	n, err := s.result()\n",
	},
	// The kernel is set by the first request, and never changes.
	{
		"two requests open the kernel", "two Do open the kernel", "queue.go",
		"	case q.up.Load():\n		return q.kernel\n", "",
	},
}

package main

// planted are bugs of the queue that some order of a program must show.
var planted = []bug{
	{
		"the token is given up although a request relies on it", "two Do, the reaper collects", "collect.go",
		`return c.word.CompareAndSwap(token, 0) }`, `c.word.Store(0); return true }`,
	},
	{
		"the ring is not looked at after the token was given up", "group and Do", "collect.go",
		"	}\n	q.drain(events)\n}\n", "	}\n}\n",
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
		"stall does not note that the timer is needed", "two Do, EAGAIN", "submit.go",
		"	l.watched, l.seen = true, l.pushes\n	l.relief.Reset(stallFor)\n", "",
	},
	{
		"stall does not set the timer", "two Do, EAGAIN", "submit.go",
		"	l.relief.Reset(stallFor)\n", "",
	},
	{
		"the owner of a group does not rely on the goroutine that collects", "two groups", "group.go",
		`		if g.relies = c.rely(1); !g.relies {
			collects = c.take()
		}
`, `		break
`,
	},
}

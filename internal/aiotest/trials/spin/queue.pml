/*
 * The protocol of package internal/queue, for Spin. main.go runs it.
 *
 * One step has at most one operation on an atomic variable, a channel or the kernel. What Lane.mu
 * guards is read and written in the steps that lock and unlock it, or between them: no other
 * goroutine can tell. Memory that one goroutine owns is read and written within other steps.
 *
 * Time is an adversary: a timeout passes, and a set timer fires, at any time that it may. A finite
 * delay needs nothing of its own, as any process may pause. A stuck io_submit(2) never returns.
 *
 * It leaves out: more than one Lane, and more than four requests; a slot that is used again; ENOSYS
 * and what follows; start, Busy and the watchdog. collectDetached runs once at a time here, and a
 * go statement waits while all workers are busy. Memory is sequentially consistent, as in Go.
 *
 * Configurations and planted bugs are macros; list.go has them.
 */
#ifndef DOS
#define DOS 2 /* calls of Do */
#endif
#ifndef GROUPS
#define GROUPS 0 /* calls of Run */
#endif
#ifndef SIZE
#define SIZE 2 /* requests of each, 1 or 2 */
#endif
#ifndef PROCS
#define PROCS 1
#endif
#ifndef GROUPFIRST
#define GROUPFIRST 4
#endif
#ifndef GATHER
#define GATHER 0 /* 1: a submitter may gather */
#endif
#ifndef CROWD
#define CROWD 0 /* 1: the reaper may collect from one request on */
#endif
#ifndef AGAIN
#define AGAIN 0 /* how often io_submit(2) returns EAGAIN */
#endif
#ifndef INVALID
#define INVALID 0 /* how often it returns EINVAL */
#endif
#ifndef STUCK
#define STUCK 0 /* how many calls of it never return */
#endif
#ifndef REFUSED
#define REFUSED 0 /* 1: io_getevents(2) is refused from some time on */
#endif
#ifndef TIMER
#define TIMER 9 /* how often the relief timer may fire; 9: without end */
#endif
#ifndef WORKERS
#define WORKERS 2 /* goroutines that submit for others at a time */
#endif
#ifndef BATCHSIZE
#define BATCHSIZE 16
#endif
#define MAXRELIEF 2
#define MAXIDLE   2
#define COLLECTS  (CROWD || GROUPS)
#define NONE      15

/* Slots are numbers: first those of Do, then those of groups. A set of slots is a word of bits. */
#define BIT(s)     (1 << (s))
#define COUNT(m)   (((m) & 1) + (((m) >> 1) & 1) + (((m) >> 2) & 1) + (((m) >> 3) & 1) + \
	(((m) >> 4) & 1) + (((m) >> 5) & 1))
#define GROUPOF(s) ((s) < DOS -> NONE : ((s) - DOS) / SIZE)
#define FIRST(g)   (DOS + SIZE * (g))
#define LAST(g)    (FIRST(g) + SIZE - 1)
#define MASK(g)    (((1 << SIZE) - 1) << FIRST(g))
/* A list of slots is a word of three bits for each, the first lowest, and 0 after the last. */
#define HEAD(list) (((list) & 7) - 1)

/* The kernel. */
byte inside, ring;          /* requests: taken, complete */
byte armed;                 /* their iocb has IOCB_FLAG_RESFD */
byte signals;               /* completions that have still to signal the eventfd */
bool bell;                  /* the poller has an edge that the reaper has not seen */
byte lost;                  /* requests of an io_submit(2) that never returns */
byte again = AGAIN, invalid = INVALID, stuck = STUCK;
bool filter;                /* io_getevents(2) is refused */
byte inCall;                /* goroutines that wait in it, if REFUSED */

/* Lane. */
bool mu;
short pending; byte pendings;
byte submitting, pushes, seen;
bool watched, timer;        /* timer: the runtime has it set */
byte taken, delivered;      /* if AGAIN: nothing else looks at them */
bool stalled;

/* Queue, slots, groups. */
short word;                 /* collector.word */
bool refused;               /* collector.refused */
short inKernel;             /* if COLLECTS */
byte done;                  /* slots that are */
byte relying;               /* slots whose quiet is set, and RELIES of groups whose relies is */
#define RELIES(g) (1 << (4 + (g)))
byte left[2];
bool given[2], quietGroup[2], doneGroup[2];

/* Goroutines that a go statement or the timer has made, and that have not run yet. */
byte relieves, resumes, takeovers, detaches;

byte busy;                  /* workers that are */
byte holders;               /* goroutines that have the token; the code has no such variable */

/* The invariants, as the comments of collector, Group and Lane state them. */
#define COLLECTOR_OK \
	assert(word >= 0 && (word & 1) == holders && (word == 0 || holders == 1)); \
	assert(word >> 1 == COUNT(relying))
#define GROUP_OK(g) assert(left[g] <= 1 || !quietGroup[g] || relying & RELIES(g))
#define LANE_OK assert(pendings == 0 || watched && (timer || relieves > 0))

/* Variables of a goroutine. w, n, ok and s are free between inlines. */
#define LOCALS \
	byte s, w, n, own = NONE, group = NONE, before, idle, got, batch, size, count; \
	short list; bool ok, all, others, err, handed, retried

/* (*collector).take */
#define TAKE   word == 0 -> word = 1; holders++; COLLECTOR_OK

#define LOCK   !mu -> mu = true
#define UNLOCK LANE_OK; mu = false

/* (*Lane).watch */
inline watch() {
	if :: watched :: else -> watched = true; seen = pushes; timer = true fi
}

/* (*Lane).unlock */
inline unlock() {
#ifndef BUG_UNLOCK
	if :: pendings > 0 -> watch() :: else fi;
#endif
	UNLOCK
}

/* (*collector).release */
inline release() {
#ifdef BUG_RELEASE
	atomic { ok = true; word = 0; holders--; COLLECTOR_OK }
#else
	atomic {
		ok = (word == 1);
		if :: ok -> word = 0; holders--; COLLECTOR_OK :: else fi
	}
#endif
}

/* (*collector).rely, of k slots or groups, which are the bits of which. */
inline rely(k, which) {
	do
	:: w = word;
		if :: w == 0 -> ok = false; break :: else fi;
		atomic {
			if
			:: word == w ->
				word = w + 2 * (k); relying = relying | (which); COLLECTOR_OK;
				w = 0; ok = true; break
			:: else
			fi
		}
	od
}

/* (*Queue).arm */
inline arm() {
	atomic {
		s = HEAD(list);
		all = (GROUPOF(s) != NONE && quietGroup[GROUPOF(s)]);
		s = 0
	};
	if
	:: all
	:: else ->
#ifdef BUG_ARM
		ok = (word != 0);
		if
		:: ok -> atomic { word = word + 2 * size; relying = relying | batch; COLLECTOR_OK }
		:: else
		fi;
#else
		rely(size, batch);
#endif
		if :: ok :: else -> armed = armed | batch fi;
		ok = false
	fi
}

/* (*Queue).clearQuiet and (*collector).unrely */
inline clearQuiet() {
	if
	:: atomic { relying & BIT(s) -> relying = relying - BIT(s); word = word - 2; COLLECTOR_OK }
	:: else
	fi
}

/* (*Queue).leave */
inline leave(g) {
	atomic { left[g]--; n = left[g] };
	if
	:: n > 0 -> n = 0
	:: else ->
		if
		:: atomic { relying & RELIES(g) ->
			relying = relying - RELIES(g); word = word - 2; COLLECTOR_OK }
		:: else
		fi;
		atomic { assert(!doneGroup[g]); doneGroup[g] = true }
	fi
}

/* (*slot).finish */
inline finish() {
	if
	:: atomic { GROUPOF(s) == NONE -> assert(!(done & BIT(s))); done = done | BIT(s) }
	:: else -> w = GROUPOF(s); leave(w); w = 0
	fi
}

/* (*Queue).deliver, of the events in got. Any may be the next in the ring. */
inline deliver() {
	do
	:: got == 0 -> break
	:: else ->
		atomic {
			if
			:: got & 1 -> s = 0
			:: got & 2 -> s = 1
			:: got & 4 -> s = 2
			:: got & 8 -> s = 3
			fi;
			got = got - BIT(s)
		};
		clearQuiet();
#if AGAIN
		delivered++;
#endif
		finish();
#if AGAIN
		if
		:: stalled ->
			if :: atomic { stalled -> stalled = false }; resumes++ :: else fi
		:: else
		fi;
#endif
		count++
	od;
	atomic {
		s = 0;
#if COLLECTS
		inKernel = inKernel - count;
#endif
		count = 0
	}
}

/* kernel.reap, once: (*Context).GetEvents that does not wait. (*Queue).reap tries again for a
   second if the call is refused; then what waits in it has long taken the events. */
inline reap() {
	atomic {
		if :: filter && inCall > 0 :: else -> got = ring; ring = 0 fi
	}
}

/* (*Queue).drain */
inline drain() {
	reap();
	deliver()
}

/* (*Queue).look */
inline look() {
	if :: word != 0 :: else -> reap(); deliver() fi
}

/* kernel.collect: (*Context).GetEvents that waits. The number of events that it waits for, which is
   target's, is left to chance. All waits have a timeout. The longest, of a second, passes here only
   if no request relies on this goroutine: otherwise it would just wait again. */
#ifdef BUG_FOREVER
#define TIMEOUT false
#else
#define TIMEOUT (word == 1)
#endif

inline getEvents() {
	atomic { /* tryReap */
		if :: inCall == 0 -> got = ring; ring = 0 :: else fi
	};
	if
	:: got > 0 /* enough */
	:: got == 0 || group != NONE || idle == 0 -> /* io_getevents(2) */
#if REFUSED
		if
		:: filter -> err = (got == 0)
		:: atomic { !filter -> inCall++ };
end_inCall:		if
			:: atomic { ring > 0 || group != NONE || idle == 0 || TIMEOUT ->
				got = got | ring; ring = 0; inCall-- }
			:: atomic { filter -> err = (got == 0); inCall-- } /* after EINTR */
			fi
		fi
#else
end_inCall:	atomic { ring > 0 || group != NONE || idle == 0 || TIMEOUT -> got = got | ring; ring = 0 }
#endif
	fi
}

/* (*Queue).enough for no group. Requests on a device that hangs do not count: others may stop. */
inline enough() {
	if :: ok = true :: inKernel > 0 -> ok = false fi
}

/* (*Queue).handOver */
inline handOver() {
#ifndef BUG_HANDOVER
	rely(1, RELIES(group));
	assert(ok);
	ok = false;
#endif
	detaches++
}

/* (*Queue).sweep. Where it sleeps, this waits for what changes something. */
inline sweep() {
	do
	:: release();
		if :: ok -> ok = false; break :: else fi;
#ifdef BUG_SWEEP
		break;
#endif
end_sweep:	ring > 0 && !(filter && inCall > 0) || word == 1;
		reap(); deliver()
	od
}

/* (*Queue).collect, for group if that is not NONE */
inline collect() {
	idle = 0;
	do
	:: if :: group != NONE -> ok = (left[group] <= 1) :: else -> enough() fi;
		if :: ok -> release() :: else fi;
		if
		:: ok -> ok = false;
#ifndef BUG_LOOK
			drain();
#endif
			break
		:: else
		fi;
		if
		:: group == NONE
		:: else ->
			if
			:: idle == MAXIDLE -> idle = 0; handOver(); break
			:: else ->
				if :: left[group] <= 1 -> idle = 0; handOver(); break :: else fi
			fi;
			before = left[group] /* unfinished */
		fi;
		getEvents();
		if
		:: err -> err = false; idle = 0; before = 0; refused = true;
			if :: group != NONE -> handOver() :: else -> sweep(); drain() fi;
			break
		:: else
		fi;
		if
		:: group == NONE -> all = (got > 0); deliver()
		:: else -> deliver(); atomic { all = (left[group] < before); before = 0 }
		fi;
		atomic {
			if
			:: all -> idle = 0; all = false
#ifdef BUG_IDLE
			:: else
#else
			:: else -> idle = (group == NONE -> 1 : idle + 1) /* only 0 counts for others */
#endif
			fi
		}
	od
}

/* (*batch).fill, with takes */
inline fill() {
	do
	:: pendings > 0 && (size == 0 || GROUPOF(HEAD(pending)) == GROUPOF(HEAD(list)) && size <
		(GROUPOF(HEAD(list)) != NONE && HEAD(list) == FIRST(GROUPOF(HEAD(list))) ->
			GROUPFIRST : BATCHSIZE)) ->
		s = HEAD(pending); pending = pending >> 3; pendings--;
		if :: GROUPOF(s) != NONE -> given[GROUPOF(s)] = (s == LAST(GROUPOF(s))) :: else fi;
		list = list | ((s + 1) << (3 * size)); batch = batch | BIT(s); size++; s = 0
	:: else -> break
	od
}

/* drop takes the first slot off the batch. */
inline drop() {
	batch = batch - BIT(HEAD(list)); list = list >> 3; size--
}

/* (*Lane).stall. ok is what it returns. */
inline stall() {
	atomic { LOCK };
	stalled = true;
	w = taken;
	if
	:: w <= delivered -> w = 0; stalled = false; ok = false; UNLOCK
	:: else -> w = 0;
		do /* the last first, as unpop puts it before the others */
		:: size == 0 -> break
		:: else ->
			s = ((list >> (3 * (size - 1))) & 7) - 1;
			clearQuiet();
			atomic {
				pending = (pending << 3) | (s + 1); pendings++;
				size--; list = list & ((1 << (3 * size)) - 1);
				batch = batch - BIT(s); s = 0
			}
		od;
		atomic {
#ifndef BUG_STALL
			watched = true; seen = pushes; timer = true;
#endif
			ok = true; UNLOCK
		}
	fi
}

/* (*Lane).push. ok is what it returns. */
inline push() {
	arm();
	ok = true;
	do
	:: size == 0 -> break
	:: else -> /* io_submit(2) takes one request after the other, until there is a fault */
		n = 0; all = false;
		do
		:: size == 0 -> break
		:: size > 0 -> atomic { inside = inside | BIT(HEAD(list)); drop(); n++ }
#if STUCK
		:: atomic { size > 0 && stuck > 0 ->
			stuck--; lost = lost | batch; list = 0; batch = 0; size = 0; n = 0 };
end_stuck:		false
#endif
#if AGAIN
		:: size > 0 && n > 0 -> break /* the next call tells why */
		:: atomic { size > 0 && n == 0 && again > 0 -> again--; all = true }; break
#endif
#if INVALID
		:: size > 0 && n > 0 -> break
		:: atomic { size > 0 && n == 0 && invalid > 0 -> invalid--; err = true }; break
#endif
		od;
		if
		:: n > 0 ->
#if AGAIN
			taken = taken + n;
#endif
#if COLLECTS
			inKernel = inKernel + n;
#endif
			n = 0
		:: else ->
#if AGAIN
			if
			:: all -> all = false; stall();
				if
				:: ok -> ok = false; break
				:: else -> ok = true;
					if
					:: !retried && taken > 0 -> retried = true
					:: else -> err = true
					fi
				fi
			:: else
			fi;
#endif
			if
			:: err -> atomic { s = HEAD(list); drop(); err = false };
				clearQuiet(); finish(); s = 0
			:: else
			fi
		fi
	od;
	retried = false
}

/* (*Lane).submit, for the request own if that is not NONE, with gather */
inline submit() {
#if GATHER
	if
	:: true
	:: atomic { unlock() }; atomic { LOCK } /* 16 requests in the kernel, in the code */
	fi;
#endif
	do
	:: pendings == 0 -> break
	:: else ->
		if
		:: own == NONE -> all = false
		:: own != NONE && group == NONE -> all = ((done & BIT(own)) != 0)
		:: own != NONE && group != NONE -> all = (left[group] <= 1 || given[group])
		fi;
		if
		:: all -> all = false; handed = true;
			atomic { watch(); UNLOCK };
			takeovers++;
			break
		:: else
		fi;
		atomic { fill(); before = pushes; unlock() };
		push();
		look();
		atomic { LOCK; others = (pushes != before); before = 0; pushes++ };
		if
		:: !ok || others && submitting > PROCS -> break
		:: else -> ok = false; others = false
		fi
	od;
	ok = false; others = false;
	if
	:: handed -> handed = false
#ifdef BUG_PLACE
	:: else -> atomic { unlock() }; atomic { LOCK; submitting--; mu = false }
#else
	:: else -> atomic { submitting--; unlock() }
#endif
	fi
}

/* (*Lane).enter, with what precedes it: requests become pending. */
inline enter() {
	atomic {
		LOCK;
		if
		:: group == NONE -> pending = pending | ((own + 1) << (3 * pendings)); pendings++
		:: else ->
			left[group] = SIZE + 1; given[group] = false;
			n = (SIZE == 1 -> own + 1 : own + 8 * (own + 1));
			pending = pending | (n << (3 * pendings)); n = 0; pendings = pendings + SIZE
		fi;
		if
		:: submitting < PROCS -> submitting++; ok = true
		:: else ->
#ifndef BUG_ENTER
			watch();
#endif
			UNLOCK
		fi
	}
}

/* (*Lane).Do */
proctype Do(byte request) {
	LOCALS;
	own = request;
	enter();
	if :: ok -> ok = false; submit() :: else fi;
	(done | lost) & BIT(own)
}

/* (*Queue).await */
inline await() {
	do
	:: !quietGroup[group] -> break
	:: quietGroup[group] ->
		if
#ifdef BUG_FIRST
		:: collect(); break
#else
		:: atomic { TAKE }; collect(); break
		:: word != 0
#endif
		fi;
#ifdef BUG_RELY
		break;
#endif
		rely(1, RELIES(group));
		if :: ok -> ok = false; break :: else fi
	od;
	GROUP_OK(group);
	leave(group)
}

/* (*Lane).Run */
proctype Run(byte number) {
	LOCALS;
	atomic { group = number; own = LAST(number); quietGroup[group] = !refused };
#ifdef BUG_FIRST
	atomic { TAKE };
#endif
	enter();
	if :: ok -> ok = false; submit() :: else fi;
	await();
	doneGroup[group] || lost & MASK(group)
}

/* (*Queue).reapLoop. The edge is RawRead's; see (*context).watch. */
proctype reapLoop() {
	LOCALS;
end:	do
	:: atomic { bell -> bell = false };
		if
		:: word != 0
		:: else ->
			drain();
#if CROWD
			if
			:: true
			:: inKernel > 0 ->
				if
				:: refused
				:: else ->
					if :: atomic { TAKE }; collect() :: word != 0 fi
				fi
			fi
#endif
		fi
#ifdef BUG_EDGE
		; bell = false
#endif
	od
}

/* (*Queue).collectDetached */
proctype collectDetached() {
	LOCALS;
end:	do
	:: atomic { detaches > 0 -> detaches-- }; collect()
	od
}

/* submitOthers, resume and relieve of Lane; ok is that it calls submit. Workers are alike, so
   one begins only if those before it are busy. */
#define BEGINS (busy & (1 << (number + 1)) - 1) == (1 << number) - 1
proctype worker(byte number) {
	LOCALS;
end:	do
	:: atomic { !ok && takeovers > 0 && BEGINS && LOCK; takeovers--; ok = true }
	:: atomic { !ok && resumes > 0 && BEGINS && LOCK; resumes--;
		ok = (pendings > 0 && submitting < PROCS);
		if :: ok -> submitting++ :: else -> unlock() fi
	}
	:: atomic { !ok && relieves > 0 && BEGINS && LOCK; relieves--; watched = false;
		ok = (pendings > 0 && submitting < PROCS);
		if
		:: pendings == 0 || ok
		:: else -> ok = (pushes == seen && submitting < PROCS + MAXRELIEF); watch()
		fi;
		if :: ok -> submitting++ :: else -> UNLOCK fi
	}
	:: atomic { ok -> ok = false; busy = busy | BIT(number) };
		submit();
		busy = busy - BIT(number)
	od
}

inline complete(s) {
	inside = inside - BIT(s); ring = ring | BIT(s);
	if :: armed & BIT(s) -> armed = armed - BIT(s); signals++ :: else fi
}

/* The kernel completes what it has, in any order. A signal follows its event. */
proctype kernel() {
end:	do
	:: atomic { inside & 1 -> complete(0) }
	:: atomic { inside & 2 -> complete(1) }
	:: atomic { inside & 4 -> complete(2) }
	:: atomic { inside & 8 -> complete(3) }
	:: atomic { signals > 0 -> signals--; bell = true }
	:: REFUSED && !filter -> filter = true
	od
}

/* The runtime starts relieve when the relief timer is due. */
proctype clock() {
	byte fires = TIMER;
end:	do
	:: atomic { fires > 0 && timer -> timer = false; relieves++;
		fires = (fires < 9 -> fires - 1 : fires) }
	od
}

/* When nothing can go on, the queue holds on to nothing, unless a request is lost, and no goroutine
   has the token. */
proctype end() {
	timeout;
	assert(lost || (inside | ring | pendings | submitting | inKernel | relying | stalled) == 0);
	assert(lost || word == 0)
}

init {
	atomic {
		byte i;
		do
		:: i < DOS -> run Do(i); i++
		:: i >= DOS && i < DOS + GROUPS -> run Run(i - DOS); i++
		:: i == DOS + GROUPS -> break
		od;
		for (i : 1 .. WORKERS) { run worker(i - 1) }
		run reapLoop();
#if GROUPS
		run collectDetached();
#endif
		run kernel(); run clock(); run end(); i = 0
	}
}

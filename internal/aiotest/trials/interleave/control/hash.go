package control

// hash returns a hash of the state.
func (x *Execution) hash() uint64 {
	h := x.sum + mix(uint64(x.Early), 7)
	for _, t := range x.tasks {
		if t.op.last {
			h += mix(t.id, uint64(x.Expiry-t.stuckAt))
		}
		own := mix(t.history, uint64(t.op.kind))
		if t.op.object != nil {
			own = mix(own, t.op.object.id)
		}
		own = mix(own, uint64(t.op.value))
		if t.expired {
			own = mix(own, 3)
		}
		if t.deadline != never {
			own = mix(own, uint64(t.deadline-x.now))
		}
		h += mix(t.id, own)
	}
	for i, t := range x.timers {
		if t.armed {
			h += mix(uint64(i)+100, uint64(t.deadline-x.now))
		}
	}
	return mix(h, x.world.Hash())
}

// shared returns a hash of the state without what goroutines have seen.
func (x *Execution) shared() uint64 {
	h := x.sum
	for _, t := range x.tasks {
		own := uint64(t.op.kind)
		if t.op.object != nil {
			own = mix(own, t.op.object.id)
		}
		h += mix(t.id, own)
	}
	return mix(h, x.world.Hash())
}

// mix returns a hash of a and b.
func mix(a, b uint64) uint64 {
	a = (a ^ b*0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9
	a ^= a >> 29
	a *= 0x94d049bb133111eb
	return a ^ a>>32
}

// Mix returns a hash of a and b.
func Mix(a, b uint64) uint64 { return mix(a, b) }

package control

import (
	"fmt"
	"reflect"
	"unsafe"
)

// An object is what goroutines share: a mutex, an atomic variable, a channel.
type object struct {
	in      *Execution
	id      uint64 // the same in all executions
	value   uint64 // what it contributes to the hash; 0 if it has its zero value
	class   *class
	omitted bool // the value is no part of the state
	name    string
	number  int
}

// An Object is one that a World has.
type Object struct{ object }

// An area is memory whose objects are named by their place in it.
type area struct {
	name     string
	from, to uintptr
	of       reflect.Type
}

// Name gives the objects in *p names, which are the same in all executions.
func (x *Execution) Name(name string, p any) {
	v := reflect.ValueOf(p)
	from := v.Pointer()
	x.areas = append(x.areas, area{name, from, from + v.Type().Elem().Size(), v.Type().Elem()})
}

// init names o if it is used for the first time.
func (o *object) init() *object {
	x := running
	if o.in == x {
		return o
	}
	o.in = x
	if x.nameAt(o, uintptr(unsafe.Pointer(o))) {
		return o
	}
	if t := x.current; t != nil {
		if t.alike {
			panic("its objects would not have names of their own")
		}
		t.made++
		o.id, o.name, o.number = mix(t.id, uint64(t.made)+1<<32), t.name+"'s", -t.made
	} else {
		x.made++
		o.id, o.name, o.number = mix(2, uint64(x.made)), "", -x.made
	}
	return o
}

// nameAt names o after the area in which an address is, if there is one.
func (x *Execution) nameAt(o *object, at uintptr) bool {
	for i := range x.areas {
		if a := &x.areas[i]; at >= a.from && at < a.to {
			o.in = x
			o.id = mix(uint64(i)+1000, uint64(at-a.from))
			o.name = a.name
			o.number = int(at - a.from)
			return true
		}
	}
	return false
}

// set changes what o contributes to the hash.
func (o *object) set(value uint64) {
	x := o.in
	if o.omitted {
		return
	}
	if o.value != 0 {
		x.sum -= mix(o.id, o.value)
	}
	if o.value = value; value != 0 {
		x.sum += mix(o.id, value)
	}
}

func (o *object) String() string {
	if o.number < 0 {
		return fmt.Sprintf("%s object %d", o.name, -o.number)
	}
	for _, a := range o.in.areas {
		if a.name == o.name {
			return o.name + field(a.of, uintptr(o.number))
		}
	}
	return o.name
}

// field returns the name of the field of t at an offset.
func field(t reflect.Type, offset uintptr) string {
	if t.Kind() != reflect.Struct {
		return ""
	}
	for i := t.NumField() - 1; i >= 0; i-- {
		f := t.Field(i)
		if f.Offset > offset {
			continue
		}
		if f.Type.PkgPath() == reflect.TypeFor[object]().PkgPath() {
			return "." + f.Name
		}
		return "." + f.Name + field(f.Type, offset-f.Offset)
	}
	return ""
}

// A class is what goroutines do with an object, in all executions so far. If no two goroutines do
// what depends on the order, then a goroutine that is about to use the object goes on at once, and
// no other order is tried: the state is the same. If that turns out to be wrong, exploration begins
// anew.
//
// What a goroutine does after a timeout does not count, as long as no other has been able to go on
// since. At the timeout none was, so no operation can change places with these.
type class struct {
	user             uint64 // the id of the goroutine that uses it
	shared           bool   // there are several
	loads, adds      bool
	writes           bool
	receiver         uint64 // the id of the goroutine that receives and looks at the length
	severalReceivers bool
}

func (c *class) free() bool {
	return !c.shared || !c.writes && !(c.loads && c.adds)
}

// classOf returns the class of o.
func (x *Execution) classOf(o *object) *class {
	if o.class == nil {
		c := x.classes[o.id]
		if c == nil {
			c = new(class)
			x.classes[o.id] = c
		}
		o.class = c
	}
	return o.class
}

// free reports whether what t is about to do depends on no other goroutine's order.
func (x *Execution) free(t *task) bool {
	switch {
	case t.op.kind == opUnlock:
		return true // no other can use the mutex before
	case t.op.outcomes != nil || t.op.kind == opCall:
		return false
	case t.op.object == nil:
		return true
	case x.every:
		return false
	case t.op.kind == opReceive:
		return !x.classOf(t.op.object).severalReceivers
	}
	return x.classOf(t.op.object).free()
}

// classify records what t does.
func (x *Execution) classify(t *task, o op) {
	if x.retracing {
		return // it has been recorded
	}
	c := x.classOf(o.object)
	before := *c
	c.record(t, o)
	switch {
	case *c == before:
	case x.window:
		*c = before
	case before.free() != c.free() || before.severalReceivers != c.severalReceivers:
		x.changed = true
	}
}

// step notes that t is about to take a step.
func (x *Execution) step(t *task) {
	x.steps++
	if x.window {
		x.window = x.alone(t)
	}
}

// alone reports whether nothing can happen but what t does.
func (x *Execution) alone(t *task) bool {
	for _, u := range x.tasks {
		if u != t && u.enabled() {
			return false
		}
	}
	return x.Early == 0 && x.world.Actions() == 0
}

// record adds to c what t does.
func (c *class) record(t *task, o op) {
	switch {
	case c.user == 0:
		c.user = t.id
	case c.user != t.id:
		c.shared = true
	}
	switch o.kind {
	case opLoad:
		c.loads = true
	case opAdd:
		c.adds = true
	case opStore:
		if uint64(o.value) == o.object.value {
			c.loads = true // it may change places with loads, and with others like it
		} else {
			c.writes = true
		}
	case opReceive, opLen:
		if c.receiver != 0 && c.receiver != t.id {
			c.severalReceivers = true
		}
		c.receiver = t.id
		c.writes = true
	case opUnlock:
	default:
		c.writes = true
	}
}

//go:build linux

// Package crashlog carries events from a process that writes to a disk to the process that cuts the
// power of that disk. They tell which records must be there afterwards. Each call is one write(2)
// of one line per event, so a killed process has announced whole lines.
package crashlog

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// An Event concerns a record, or something else that is written as a whole.
type Event struct {
	Kind byte
	At   int64 // when, by Now
	Record
}

// The kinds of events.
const (
	Begun   = 'B' // before the call that writes
	Written = 'W' // after it has returned
	Synced  = 'A' // when it is durable
	Failed  = 'E' // a text follows: the end of the writer
)

// A Record is a unit of writing.
type Record struct {
	File    int
	Slot    int   // the place in the file; of an appended record, the goroutine that appends
	Version int   // counts the records of the slot, from 1 on
	Off     int64 // bytes; -1 if it is appended
	Length  int   // bytes
}

// Now returns the time of a clock that all processes share, in nanoseconds.
func Now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err) // it has no reason to fail
	}
	return ts.Nano()
}

// Announce writes events of one kind, which happen now, to the standard output. It ends the process
// if the other end of the pipe is closed.
func Announce(kind byte, records ...Record) {
	if _, err := os.Stdout.Write(lines(kind, Now(), records)); err != nil {
		os.Exit(1)
	}
}

func lines(kind byte, at int64, records []Record) (text []byte) {
	for _, r := range records {
		text = fmt.Appendf(text, "%c %d %d %d %d %d %d\n", kind, at, r.File, r.Slot, r.Version, r.Off, r.Length)
	}
	return text
}

// Fail announces the error that ends the writer, and ends it.
func Fail(err error) {
	fmt.Printf("%c %v\n", Failed, err)
	os.Exit(1)
}

// Parse returns the event of a line.
func Parse(line string) (Event, error) {
	fields := strings.Fields(line)
	var numbers [6]int64
	if len(fields) != 1+len(numbers) || len(fields[0]) != 1 {
		return Event{}, fmt.Errorf("the writer says %q", line)
	}
	for i := range numbers {
		var err error
		if numbers[i], err = strconv.ParseInt(fields[1+i], 10, 64); err != nil {
			return Event{}, err
		}
	}
	return Event{fields[0][0], numbers[0], Record{
		int(numbers[1]), int(numbers[2]), int(numbers[3]), numbers[4], int(numbers[5]),
	}}, nil
}

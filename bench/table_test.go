//go:build linux

package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// sampleReport has every kind of row: won, lost, failed, with fio and without.
func sampleReport() *report {
	rep := &report{
		Environment: environment{
			Kernel: "6.18.0", Arch: "amd64", CPUs: 2, CPU: "A CPU with a name", Go: "go1.26", Fio: "fio-3.33",
			Filesystem: "ext4", Device: "/dev/sda1", SectorSize: "512", Scheduler: "none", FileSize: 1 << 30, Direct: true,
		},
		Plan: plan{Workloads: defaultWorkloads, Depths: []int{1, 1024}, Rounds: 10, FioRounds: 2, RoundTime: time.Second},
	}
	for _, w := range defaultWorkloads {
		for _, depth := range rep.Plan.Depths {
			r := &row{Workload: w, Depth: depth}
			for i := range 10 {
				for _, e := range rep.Plan.engines(w) {
					if e == fioEngine && i > 1 {
						continue
					}
					h := newLatency()
					ops := int64(123456)
					if e == aioEngine {
						ops = ops / 4 * int64(depth)
					}
					if e != fioEngine || w != syncWork {
						h.record(int64(250*time.Millisecond), ops)
					}
					r.add(e, true, newRound(i, ops, time.Second, time.Second, 1027, h))
				}
			}
			r.finish()
			rep.Rows = append(rep.Rows, r)
		}
	}
	return rep
}

func TestTable(t *testing.T) {
	rep := sampleReport()
	rep.Rows[3].Error = "aio.File: something went wrong"
	rep.Interrupted = true
	got := rep.table()
	for _, want := range []string{
		"Linux 6.18.0", "ext4 on /dev/sda1", "\nReadAt: ", "\nWriteAt: ", "\nWriteAt+Sync: ",
		"123,456", "31,604,736", "250 ms", "FAILED       see below", "256 [256-256]", "0.25 [0.25-0.25]", "<< os.File", "<< fio",
		"Against os.File, aio.File is faster in 3 of 6 rows, slower in 3,",
		"FAILED: WriteAt, 1024 goroutines: aio.File: something went wrong",
		"Stopped early",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in the table", want)
		}
	}
	for line := range strings.Lines(got) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 120 {
			t.Errorf("%d columns wide: %s", n, line)
		}
		if strings.HasSuffix(line, " \n") {
			t.Errorf("a line ends with a space: %q", line)
		}
	}
	if t.Failed() {
		t.Log(got)
	}
}

func TestTableOfNothing(t *testing.T) {
	rep := sampleReport()
	rep.Rows = nil
	if got := rep.table(); !strings.Contains(got, "Nothing was measured") {
		t.Errorf("got %s", got)
	}
}

func TestSVG(t *testing.T) {
	rep := sampleReport()
	path := filepath.Join(t.TempDir(), "run.svg")
	for _, rows := range [][]*row{rep.Rows, rep.Rows[:1]} {
		rep.Rows = rows
		if err := rep.writeSVG(path); err != nil {
			t.Fatal(err)
		}
		svg, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"ReadAt", "os.File", "aio.File", "fio libaio", "goroutines", "operations a second", "99th percentile"} {
			if !bytes.Contains(svg, []byte(want)) {
				t.Errorf("%q is not in the drawing", want)
			}
		}
		if err := wellFormed(svg); err != nil {
			t.Error(err)
		}
	}
}

func wellFormed(text []byte) error {
	d := xml.NewDecoder(bytes.NewReader(text))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func TestFormats(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{formatCount(0), "0"},
		{formatCount(999), "999"},
		{formatCount(1000), "1,000"},
		{formatCount(1234567.4), "1,234,567"},
		{formatMicroseconds(0), "0.00 µs"},
		{formatMicroseconds(9.876), "9.88 µs"},
		{formatMicroseconds(66.04), "66.0 µs"},
		{formatMicroseconds(999.4), "999 µs"},
		{formatMicroseconds(999.9), "1.00 ms"},
		{formatMicroseconds(35123), "35.1 ms"},
		{formatMicroseconds(2.5e6), "2.50 s"},
		{formatRatio(0.951), "0.95"},
		{formatRatio(9.999), "10.0"},
		{formatRatio(123.4), "123"},
		{formatSize(1 << 30), "1 GiB"},
		{formatSize(3 << 29), "1.5 GiB"},
		{formatSize(16 << 20), "16 MiB"},
		{formatSize(5), "5 bytes"},
		{tickCount(20000), "20k"},
		{tickCount(1.5e6), "1.5M"},
		{tickDuration(200), "200 µs"},
		{tickDuration(20000), "20 ms"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

//go:build linux

package main

import (
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func readSample(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestParseFioRead(t *testing.T) {
	r, err := parseFio(readSample(t, "fio-randread.json"), readWork)
	if err != nil {
		t.Fatal(err)
	}
	if r.ops != 794 || r.elapsed != 31*time.Millisecond || r.cpu != 15*time.Millisecond {
		t.Errorf("got %d operations in %v with %v of CPU time", r.ops, r.elapsed, r.cpu)
	}
	if n := r.latency.TotalCount(); n != r.ops {
		t.Errorf("%d latencies of %d operations", n, r.ops)
	}
	// The expected percentiles are fio's own, from the same file. Its bins are 1.6% wide, and it
	// rounds ranks up.
	p := r.latency.percentiles()
	for _, c := range []struct{ got, fio float64 }{{p.P50, 127.488}, {p.P99, 387.072}, {p.P999, 626.688}} {
		if math.Abs(c.got/c.fio-1) > 0.04 {
			t.Errorf("got %v us where fio has %v", c.got, c.fio)
		}
	}
}

func TestParseFioSync(t *testing.T) {
	r, err := parseFio(readSample(t, "fio-randwrite-fsync.json"), syncWork)
	if err != nil {
		t.Fatal(err)
	}
	if r.ops != 353 || r.elapsed != 31*time.Millisecond { // of 355 writes, 353 were synced
		t.Errorf("got %d operations in %v", r.ops, r.elapsed)
	}
	if p := r.latency.percentiles(); p != nil {
		t.Errorf("a latency, which fio does not tell: %+v", p)
	}
}

func TestParseFioErrors(t *testing.T) {
	sample := string(readSample(t, "fio-randread.json"))
	for _, tt := range []struct {
		name, output, want string
		w                  workload
	}{
		{"empty", "", "reading its JSON", readWork},
		{"not JSON", "fio: engine libaio not loadable\n", "reading its JSON", readWork},
		{"no job", `{"jobs": []}`, "0 jobs", readWork},
		{"wrong direction", sample, "no write", writeWork},
		{"failed", strings.Replace(sample, `"error" : 0`, `"error" : 22`, 1), "invalid argument", readWork},
		{"odd bin", `{"jobs": [{"read": {"total_ios": 1, "runtime": 1, "lat_ns": {"bins": {"x": 1}}}}]}`, "latency", readWork},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseFio([]byte(tt.output), tt.w)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
	warned := "fio: this platform does not support something\n" + sample
	if _, err := parseFio([]byte(warned), readWork); err != nil {
		t.Errorf("after a warning: %v", err)
	}
}

func TestFioArgs(t *testing.T) {
	f := fio{file: "/mnt/a:b/file", size: 1 << 24, direct: true}
	args := f.args(syncWork, 32, 0, 70*time.Millisecond)
	for _, want := range []string{
		`--filename=/mnt/a\:b/file`, "--iodepth=32", "--rw=randwrite", "--fsync=1", "--direct=1",
		"--runtime=70ms", "--bs=4096", "--size=16777216", "--thread", "--norandommap", "--randrepeat=0",
	} {
		if !slices.Contains(args, want) {
			t.Errorf("%s is not in %q", want, args)
		}
	}
	args = f.args(readWork, 1, 0, time.Second)
	if slices.Contains(args, "--fsync=1") || !slices.Contains(args, "--rw=randread") {
		t.Errorf("reading: %q", args)
	}
	if slices.ContainsFunc(args, func(arg string) bool { return strings.HasPrefix(arg, "--rate") }) {
		t.Errorf("no rate was asked for: %q", args)
	}
	f.poisson = true
	args = f.args(readWork, 1, 1234.5, time.Second)
	if !slices.Contains(args, "--rate_iops=1235") || !slices.Contains(args, "--rate_process=poisson") {
		t.Errorf("at a rate: %q", args)
	}
}

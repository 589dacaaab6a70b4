package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-aio/aio/internal/aiotest"
)

// A suite is the tests of one package.
type suite struct {
	name   string
	pkg    string
	skip   string // tests that do not depend on the filesystem
	binary string
}

const (
	// otherPlaces matches tests that choose their filesystem.
	otherPlaces = "TestContractTmpfs|TestHugeTransfers|TestReadOnlyFilesystem|TestFullFilesystem|TestAlmostFullFilesystem|TestLastRoom"
	// counts matches tests of counters, which depend on the machine.
	counts = "TestStats.*|TestTraceRegions"
	// otherProcesses matches tests that run the others again, without kernel AIO or with room for
	// few requests. That does not depend on the filesystem.
	otherProcesses = "Test(Batch)?(Refused|Cramped)|TestConfigure"
	// exhausting matches tests that use up a resource of the whole machine.
	exhausting = "TestUsedUp"
)

// suites returns those whose names are in only, or all if it is empty.
func suites(only string) []suite {
	const root = "github.com/go-aio/aio"
	all := []suite{
		{name: "contract", pkg: root, skip: otherPlaces + "|" + counts},
		{name: "streams", pkg: root + "/stream", skip: otherPlaces},
		{name: "model", pkg: root + "/internal/aiotest/model"},
		{name: "concurrency", pkg: root + "/internal/aiotest/concurrency"},
		{name: "linearizability", pkg: root + "/internal/aiotest/trials/linearizability"},
		{name: "lifetime", pkg: root + "/internal/aiotest/lifetime"},
		{name: "faults", pkg: root + "/internal/aiotest/trials/faults", skip: exhausting},
	}
	if only == "" {
		return all
	}
	names := strings.Split(only, ",")
	return slices.DeleteFunc(all, func(s suite) bool { return !slices.Contains(names, s.name) })
}

// build compiles the test binaries into dir.
func build(all []suite, dir string) error {
	for i := range all {
		s := &all[i]
		s.binary = filepath.Join(dir, s.name+".test")
		if out, err := exec.Command("go", "test", "-c", "-o", s.binary, s.pkg).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", s.pkg, err, out)
		}
	}
	return nil
}

// An outcome is the result of a suite in a place.
type outcome struct {
	passed  int // tests, those within tests included
	skipped []string
	counts  map[string]int // counters in the output of the tests, by name
}

// The only accepted reasons to skip a test on a filesystem without direct I/O.
const (
	noDirect = "needs direct I/O"
	noDisk   = "there is no disk that could be made to fail"
)

// run runs the suite in a place.
func (s suite) run(at place, m mounted, short bool) (outcome, error) {
	cmd := exec.Command(s.binary, "-test.v", "-test.timeout=10m")
	cmd.Args = append(cmd.Args, "-test.skip=^("+otherProcesses+"|"+s.skip+")$")
	// The directory is not in the filesystem: if this process serves it, it would have to answer
	// the chdir(2) of the child while syscall.ForkLock is held.
	cmd.Dir = filepath.Dir(m.dir)
	cmd.Env = append(os.Environ(), aiotest.Environment(m.dir, m.device, at.direct)...)
	cmd.Env = append(cmd.Env, "AIOTEST_FILESYSTEM="+at.faulty)
	if !short {
		cmd.Env = append(cmd.Env, aiotest.AtFullLength)
	}
	text, err := cmd.CombinedOutput()
	o := parse(text)
	switch {
	case err != nil:
		return o, fmt.Errorf("%s on %s: %w\n%s", s.name, at.name, err, passing.ReplaceAll(text, nil))
	case o.passed == 0:
		return o, fmt.Errorf("%s on %s: nothing was tested\n%s", s.name, at.name, text)
	}
	for _, why := range o.skipped {
		if at.direct || !strings.Contains(why, noDirect) && !strings.Contains(why, noDisk) {
			err = fmt.Errorf("%s on %s: skipped: %s", s.name, at.name, why)
		}
	}
	return o, err
}

// passing matches the output of go test -v for tests that pass.
var passing = regexp.MustCompile(`(?m)^( *--- PASS|=== (RUN|NAME)).*\n`)

var counted = regexp.MustCompile(`: (\d+) ([a-z ]+[a-z])$`)

// parse reads the output of go test -v.
func parse(text []byte) outcome {
	o := outcome{counts: make(map[string]int)}
	last := ""
	for in := bufio.NewScanner(bytes.NewReader(text)); in.Scan(); last = in.Text() {
		switch line := strings.TrimSpace(in.Text()); {
		case strings.HasPrefix(line, "--- PASS"):
			o.passed++
		case strings.HasPrefix(line, "--- SKIP"):
			o.skipped = append(o.skipped, line+" "+strings.TrimSpace(last))
		default:
			if m := counted.FindStringSubmatch(line); m != nil {
				n, _ := strconv.Atoi(m[1])
				o.counts[m[2]] += n
			}
		}
	}
	return o
}

// sum adds the counters of outcomes and formats them.
func sum(all []outcome) string {
	total := make(map[string]int)
	for _, o := range all {
		for name, n := range o.counts {
			total[name] += n
		}
	}
	var lines []string
	for name, n := range total {
		lines = append(lines, fmt.Sprintf("%d %s", n, name))
	}
	slices.Sort(lines)
	return strings.Join(lines, ", ")
}

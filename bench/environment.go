//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// An environment describes the machine of the measurement.
type environment struct {
	Date       time.Time `json:"date"`
	Command    []string  `json:"command"`
	Go         string    `json:"go"`
	Kernel     string    `json:"kernel"`
	Arch       string    `json:"arch"`
	CPU        string    `json:"cpu"`
	CPUs       int       `json:"cpus"`
	GOMAXPROCS int       `json:"gomaxprocs"`
	Fio        string    `json:"fio,omitempty"` // its version, if it has turns

	Filesystem   string `json:"filesystem"`
	MountOptions string `json:"mount_options"`
	Device       string `json:"device"`
	Scheduler    string `json:"io_scheduler,omitempty"`
	SectorSize   string `json:"logical_block_size,omitempty"`
	FileSize     int64  `json:"file_size"`
	Direct       bool   `json:"o_direct"` // does the filesystem accept it?
}

func describeSystem() environment {
	e := environment{
		Date:       time.Now(),
		Command:    os.Args,
		Go:         runtime.Version(),
		Arch:       runtime.GOARCH,
		CPUs:       runtime.NumCPU(),
		GOMAXPROCS: runtime.GOMAXPROCS(0),
		CPU:        cpuModel(),
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		e.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	return e
}

// describeDisk adds the properties of the filesystem and the device under dir. Unknown ones stay
// empty.
func (e *environment) describeDisk(dir string) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return
	}
	m, ok := findMount(string(mounts), dir)
	if !ok {
		return
	}
	e.Filesystem, e.MountOptions, e.Device = m.fstype, m.options, m.source
	queue := queueDir(m.device)
	e.SectorSize = sysfs(queue, "logical_block_size")
	e.Scheduler = chosen(sysfs(queue, "scheduler"))
}

// A mount is a line of /proc/self/mountinfo.
type mount struct {
	point, device, fstype, source, options string
}

// findMount returns the last mount at or above dir: it covers the ones before it.
func findMount(mountinfo, dir string) (mount, bool) {
	var best mount
	for line := range strings.Lines(mountinfo) {
		// 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
		left, right, found := strings.Cut(line, " - ")
		fields, after := strings.Fields(left), strings.Fields(right)
		if !found || len(fields) < 6 || len(after) < 2 {
			continue
		}
		point := unescape(fields[4])
		if len(point) < len(best.point) || !contains(point, dir) {
			continue
		}
		best = mount{
			point: point, device: fields[2], options: fields[5],
			fstype: after[0], source: unescape(after[1]),
		}
	}
	return best, best.point != ""
}

// unescape undoes the octal escapes of mountinfo, as far as they occur in practice.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\134`, `\`).Replace(s)
}

func contains(point, dir string) bool {
	rel, err := filepath.Rel(point, dir)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// queueDir returns the directory in which sysfs describes a block device, or the disk that a
// partition is on.
func queueDir(device string) string {
	dir, err := filepath.EvalSymlinks(filepath.Join("/sys/dev/block", device))
	if err != nil {
		return "" // btrfs, for one, has device numbers of its own
	}
	if _, err := os.Stat(filepath.Join(dir, "partition")); err == nil {
		dir = filepath.Dir(dir)
	}
	return filepath.Join(dir, "queue")
}

func sysfs(dir, name string) string {
	if dir == "" {
		return ""
	}
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(text))
}

// chosen returns b from "a [b] c".
func chosen(s string) string {
	if _, rest, found := strings.Cut(s, "["); found {
		s, _, _ = strings.Cut(rest, "]")
	}
	return s
}

func cpuModel() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if key, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func fioVersion(path string) string {
	out, err := exec.Command(path, "--version").Output()
	if err != nil {
		return ""
	}
	return firstLine(string(out))
}

// String returns the heading of the table.
func (e environment) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Linux %s %s, %d CPUs", e.Kernel, e.Arch, e.CPUs)
	if e.CPU != "" {
		fmt.Fprintf(&b, " (%s)", e.CPU)
	}
	fmt.Fprintf(&b, ", %s", e.Go)
	if e.Fio != "" {
		fmt.Fprintf(&b, ", %s", e.Fio)
	}
	fmt.Fprintf(&b, "\n%s on %s", e.Filesystem, e.Device)
	if e.SectorSize != "" {
		fmt.Fprintf(&b, " (%s-byte sectors, scheduler %s)", e.SectorSize, e.Scheduler)
	}
	fmt.Fprintf(&b, ", a file of %s", formatSize(e.FileSize))
	if e.Direct {
		b.WriteString(" opened with O_DIRECT")
	} else {
		b.WriteString(", without O_DIRECT: the filesystem refuses it")
	}
	return b.String()
}

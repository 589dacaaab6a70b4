//go:build linux

package main

import "testing"

func TestFindMount(t *testing.T) {
	const mountinfo = `22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:20 / /proc rw - proc proc rw
24 22 8:17 / /mnt/disk rw,noatime - xfs /dev/sdb1 rw
25 24 0:40 / /mnt/disk rw - tmpfs tmpfs rw
26 22 259:0 / /mnt/two\040words rw - ext4 /dev/nvme0n1 rw
garbage
`
	for _, tt := range []struct{ dir, fstype, source string }{
		{"/", "ext4", "/dev/sda1"},
		{"/home/someone", "ext4", "/dev/sda1"},
		{"/mnt/disk", "tmpfs", "tmpfs"}, // the later mount covers the earlier
		{"/mnt/disk/a/b", "tmpfs", "tmpfs"},
		{"/mnt/diskette", "ext4", "/dev/sda1"},
		{"/mnt/two words/a", "ext4", "/dev/nvme0n1"},
	} {
		m, ok := findMount(mountinfo, tt.dir)
		if !ok || m.fstype != tt.fstype || m.source != tt.source {
			t.Errorf("%s: got %+v, want %s on %s", tt.dir, m, tt.fstype, tt.source)
		}
	}
	if m, ok := findMount("", "/"); ok {
		t.Errorf("a mount from nothing: %+v", m)
	}
}

func TestChosen(t *testing.T) {
	for in, want := range map[string]string{"[mq-deadline] none": "mq-deadline", "a [b] c": "b", "none": "none", "": ""} {
		if got := chosen(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestParseThreads(t *testing.T) {
	for in, want := range map[string]int{
		"Name:\tx\nThreads:\t17\nSigQ:\t0/1\n": 17,
		"Name:\tx\n":                           0,
		"\nThreads:\tx\n":                      0,
		"":                                     0,
	} {
		if got := parseThreads([]byte(in)); got != want {
			t.Errorf("%q: got %d, want %d", in, got, want)
		}
	}
	if n := ownThreads(); n < 1 {
		t.Errorf("this process has %d threads", n)
	}
}

func TestFit(t *testing.T) {
	d := disk{dir: "/d", free: 100 << 20}
	if size, err := d.fit(32 << 20); size != 32<<20 || err != nil {
		t.Errorf("enough space: %d, %v", size, err)
	}
	if size, err := d.fit(1 << 30); size != 90<<20 || err != nil {
		t.Errorf("short of space: %d, %v", size, err)
	}
	d.free = 17 << 20
	if size, err := d.fit(1 << 30); err == nil {
		t.Errorf("no space: %d", size)
	}
}

func TestRAMFilesystem(t *testing.T) {
	for magic, want := range map[int64]string{0x01021994: "tmpfs", 0x858458f6: "ramfs", 0x858458f6 - 1<<32: "ramfs", 0xef53: ""} {
		if name, ok := ramFilesystem(magic); name != want || ok != (want != "") {
			t.Errorf("%#x: got %q, %v", magic, name, ok)
		}
	}
}

package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/trials/fusedisk"
)

func TestMain(m *testing.M) {
	aiotest.InNamespace()
	beWriter()
	beReader()
	os.Exit(m.Run())
}

// ran runs a trial and returns it.
func ran(t *testing.T, c trial) *trial {
	t.Helper()
	aiotest.Guard(t)
	aiotest.NeedsMounts(t)
	var out bytes.Buffer
	c.out, c.filesystems = &out, []string{"ext4", "xfs"}
	err := c.run()
	t.Logf("%s", &out)
	if err != nil {
		t.Fatal(err)
	}
	return &c
}

// TestPowerCut runs a trial that loses nothing.
func TestPowerCut(t *testing.T) {
	trial := ran(t, trial{cutCount: 3, killCount: 2, seed: 2, engine: "aio"})
	got := trial.sum()
	if got.cuts != 3 || got.kills != 2 || got.replayed != 3 || len(got.losses) > 0 {
		t.Errorf("%d cuts and %d kills survived, %d journals replayed, lost: %q", got.cuts, got.kills, got.replayed, got.losses)
	}
	if got.contexts != 2 {
		t.Errorf("%d of 2 writers had a context of the kernel", got.contexts)
	}
}

// TestLostFlushes runs os.File on a disk that loses its flushes. Synced records are then lost, and
// the checker must report that.
func TestLostFlushes(t *testing.T) {
	trial := ran(t, trial{cutCount: 4, killCount: 2, seed: 2, engine: "os", loseFlushes: true})
	for name, got := range trial.total {
		if len(got.losses) == 0 || got.cuts > 0 {
			t.Errorf("%s: %d cuts survived", name, got.cuts)
		}
		if got.kills != 1 {
			t.Errorf("%s: the disk lost flushes, and something was lost by a kill", name)
		}
	}
}

// TestLostTransactions runs a database over os.File on a disk that loses its flushes.
func TestLostTransactions(t *testing.T) {
	trial := ran(t, trial{cutCount: 2, killCount: 2, seed: 2, engine: "os", loseFlushes: true, databases: []string{"raftwal"}})
	if got := trial.sum(); len(got.losses) == 0 || got.cuts > 0 || got.kills != 2 {
		t.Errorf("%d cuts and %d kills survived, lost: %q", got.cuts, got.kills, got.losses)
	}
}

// TestSecret fills the free blocks of an empty filesystem with bytes that must never be read.
func TestSecret(t *testing.T) {
	aiotest.Guard(t)
	aiotest.NeedsMounts(t)
	server, err := fusedisk.Mount(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	for name, v := range volumes {
		disk, err := v.base(server, t.TempDir())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		content, err := os.ReadFile(disk.Path())
		if err != nil {
			t.Fatal(err)
		}
		blocks := 0
		for at := 0; at < len(content); at += blockSize {
			if strings.HasPrefix(describe(content[at:at+blockSize]), "STALE") {
				blocks++
			}
		}
		if int64(blocks)*blockSize < v.Size/3 {
			t.Errorf("%s: only %d blocks hold the secret", name, blocks)
		}
	}
}

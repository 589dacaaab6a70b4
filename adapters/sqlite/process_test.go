package sqlite_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/go-aio/aio"
	"github.com/ncruces/go-sqlite3"
)

// A part runs in another process of this binary.
var parts = map[string]func(uri string) error{
	"lock":  lockPart,
	"add":   addPart,
	"write": writePart,
}

func TestMain(m *testing.M) {
	if part := os.Getenv("SQLITE_PART"); part != "" {
		if err := parts[part](os.Getenv("SQLITE_URI")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func process(part, uri string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SQLITE_PART="+part, "SQLITE_URI="+uri)
	cmd.Stderr = os.Stderr
	return cmd
}

// lockPart reports whether the database can be locked for writing now.
func lockPart(uri string) error {
	c, err := sqlite3.Open(uri)
	if err != nil {
		return err
	}
	defer c.Close()
	err = c.Exec("PRAGMA busy_timeout=0; BEGIN IMMEDIATE; ROLLBACK")
	switch {
	case err == nil:
		fmt.Print("free")
	case errors.Is(err, sqlite3.BUSY):
		fmt.Print("busy")
	default:
		return err
	}
	return nil
}

// TestLocksOutliveCloses checks that no close of a descriptor of the database releases a lock of
// another connection.
func TestLocksOutliveCloses(t *testing.T) {
	for _, mode := range modes[1:] {
		for _, journal := range []string{"delete", "wal"} {
			t.Run(mode+"/"+journal, func(t *testing.T) {
				dir := scratch(t)
				c := open(t, dir, mode, "journal_mode("+journal+")")
				fill(t, c)
				locked := func(want string) {
					t.Helper()
					for _, other := range modes {
						if out, err := process("lock", uri(dir, other)).Output(); string(out) != want || err != nil {
							t.Errorf("another process, %s: %q, %v; want %q", other, out, err, want)
						}
					}
				}
				locked("free")
				do(t, c, "BEGIN IMMEDIATE; DELETE FROM t WHERE id = 1")
				for _, other := range modes {
					o := open(t, dir, other)
					wantText(t, o, "SELECT count(*) FROM t", "2000")
					o.Close()
				}
				for _, flag := range []int{0, aio.O_DIRECT} {
					f, err := aio.OpenFile(dir+"/test.db", os.O_RDWR|flag, 0)
					if err != nil {
						t.Fatal(err)
					}
					f.Close()
				}
				locked("busy")
				do(t, c, "COMMIT")
				locked("free")
			})
		}
	}
}

const added = 50

// addPart adds 1 to a number, and rows, a number of times.
func addPart(uri string) error {
	c, err := sqlite3.Open(uri)
	if err != nil {
		return err
	}
	defer c.Close()
	for range added {
		err := c.Exec(`BEGIN IMMEDIATE; UPDATE n SET i = i + 1;
			INSERT INTO rows SELECT hex(randomblob(1000)) FROM n; COMMIT`)
		if err != nil {
			return err
		}
	}
	return nil
}

// TestProcesses runs two processes of each mode on a growing database. No update is lost, and no
// process uses an outdated size or page.
func TestProcesses(t *testing.T) {
	for _, journal := range []string{"delete", "truncate", "wal"} {
		t.Run(journal, func(t *testing.T) {
			dir := scratch(t)
			c := open(t, dir, "aio-direct", "journal_mode("+journal+")", "synchronous(off)")
			do(t, c, "CREATE TABLE n (i); INSERT INTO n VALUES (0); CREATE TABLE rows (v)")
			var all []*exec.Cmd
			for range 2 {
				for _, mode := range modes {
					p := process("add", uri(dir, mode, "synchronous(off)"))
					if err := p.Start(); err != nil {
						t.Fatal(err)
					}
					all = append(all, p)
				}
			}
			for _, p := range all {
				if err := p.Wait(); err != nil {
					t.Error(err)
				}
			}
			want := strconv.Itoa(len(all) * added)
			wantText(t, c, "SELECT i FROM n", want)
			wantText(t, c, "SELECT count(*) FROM rows", want)
			for _, mode := range modes {
				wantText(t, open(t, dir, mode), "PRAGMA integrity_check", "ok")
			}
		})
	}
}

// writePart commits rows for ever, and prints each.
func writePart(uri string) error {
	c, err := sqlite3.Open(uri)
	if err != nil {
		return err
	}
	for i := 1; ; i++ {
		if err := c.Exec(fmt.Sprintf("INSERT INTO w SELECT %d, hex(randomblob(2000)); UPDATE w SET v = hex(randomblob(2000)) WHERE id %% 7 = %d", i, i%7)); err != nil {
			return err
		}
		fmt.Println(i)
	}
}

// commits is the number of commits before a process is killed.
const commits = 20

// TestKilled kills a process. Its commits are there, and the rest is undone, in any mode of the
// next process.
func TestKilled(t *testing.T) {
	for _, writer := range modes[1:] {
		for _, reader := range []string{"os", writer} {
			for _, journal := range []string{"delete", "persist", "wal"} {
				t.Run(writer+"/"+reader+"/"+journal, func(t *testing.T) {
					dir := scratch(t)
					c := open(t, dir, writer, "journal_mode("+journal+")")
					do(t, c, "CREATE TABLE w (id INTEGER PRIMARY KEY, v)")
					c.Close()
					p := process("write", uri(dir, writer, "cache_size(10)", "wal_autocheckpoint(50)"))
					out, err := p.StdoutPipe()
					if err != nil {
						t.Fatal(err)
					}
					if err := p.Start(); err != nil {
						t.Fatal(err)
					}
					last := 0
					for lines := bufio.NewScanner(out); lines.Scan(); {
						if last, err = strconv.Atoi(strings.TrimSpace(lines.Text())); err != nil {
							t.Fatal(err)
						}
						if last == commits {
							p.Process.Kill()
						}
					}
					p.Wait() // killed
					r := open(t, dir, reader)
					wantText(t, r, "PRAGMA integrity_check", "ok")
					if n, _ := strconv.Atoi(text(t, r, "SELECT count(*) FROM w")); n < last || n > last+1 || last < commits {
						t.Errorf("%d rows, and %d were committed", n, last)
					}
				})
			}
		}
	}
}

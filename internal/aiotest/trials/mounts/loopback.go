package mounts

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Environment variables of the process that serves a loopback.
const (
	loopbackBelow = "AIOTEST_LOOPBACK_BELOW"
	loopbackDir   = "AIOTEST_LOOPBACK_DIR"
)

// Loopback serves below at dir by FUSE. The server is a process of its own: it opens files without
// O_CLOEXEC, and a test started meanwhile would inherit them. The mount ends when unmount is
// called, or when the process that called Loopback ends.
func Loopback(below, dir string) (unmount func() error, err error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), loopbackBelow+"="+below, loopbackDir+"="+dir)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop := func() error {
		stdin.Close()
		return cmd.Wait()
	}
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		return nil, fmt.Errorf("loopback at %s did not start: %w", dir, stop())
	}
	return stop, nil
}

// init turns the process into the server that Loopback has started.
func init() {
	dir := os.Getenv(loopbackDir)
	if dir == "" {
		return
	}
	if err := serve(os.Getenv(loopbackBelow), dir); err != nil {
		fmt.Fprintln(os.Stderr, "loopback:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serve mounts below at dir, announces that on standard output, and unmounts it when standard input
// ends.
func serve(below, dir string) error {
	root, err := fs.NewLoopbackRoot(below)
	if err != nil {
		return err
	}
	server, err := fs.Mount(dir, root, &fs.Options{MountOptions: fuse.MountOptions{
		FsName:            "loopback",
		AllowOther:        true, // as any user
		DirectMountStrict: true, // no fusermount is needed
		Options:           []string{"default_permissions"},
	}})
	if err != nil {
		return err
	}
	fmt.Println("mounted")
	io.Copy(io.Discard, os.Stdin)
	return server.Unmount()
}

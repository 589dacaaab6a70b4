package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// The run is a child, because a watchdog within the process does not bark if the runtime itself
// stands still. silence is how long the child may print nothing.
const (
	childEnv = "SOAK_CHILD"
	silence  = 2 * time.Minute
)

func supervised() bool { return os.Getenv(childEnv) != "" }

// supervise runs the program again and returns its exit code. If the child falls silent, supervise
// asks for its stacks by SIGQUIT, and kills it.
func supervise() int {
	runtime.LockOSThread() // Pdeathsig is sent when the thread ends
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), childEnv+"=1", "GOTRACEBACK=all")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		return 2
	}
	alarm := time.AfterFunc(silence, func() {
		fmt.Fprintf(os.Stderr, "soak: HANG: not a line for %v\n", silence)
		cmd.Process.Signal(syscall.SIGQUIT)
		time.Sleep(10 * time.Second)
		cmd.Process.Kill()
	})
	for lines := bufio.NewScanner(out); lines.Scan(); alarm.Reset(silence) {
		fmt.Println(lines.Text())
	}
	err = cmd.Wait()
	alarm.Stop()
	if err != nil && cmd.ProcessState == nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
	}
	if err != nil {
		return 1
	}
	return 0
}

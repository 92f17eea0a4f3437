package diskstore

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// childEnv is set in the processes that the tests below start.
const childEnv = "SNUBBER_TEST_DISK_CHILD"

// TestStoreProcess is what such a process runs: it writes entries to the same
// few keys until its input ends or it is killed.
func TestStoreProcess(t *testing.T) {
	dir, id, ok := strings.Cut(os.Getenv(childEnv), "|")
	if !ok {
		t.Skip("for the tests with several processes")
	}
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	s := open(dir, sharedBytes)
	for round := 0; ; round++ {
		for k := range 8 {
			key := fmt.Sprint("shared-", k)
			if err := put(s, key, testEntry(key, id, round), time.Hour); err != nil {
				fmt.Println("Put:", err)
			}
			if data, err := get(s, key); err == nil && !isTestEntry(key, data) {
				fmt.Printf("%s has an entry that no process wrote: %d bytes\n", key, len(data))
			}
			put(s, fmt.Sprintf("own-%s-%d", id, round*8+k), make([]byte, 9000), time.Hour)
			fmt.Println("ok")
		}
	}
}

// sharedBytes is the bound of the store that the processes share.
const sharedBytes = 1 << 20

func testEntry(key, id string, round int) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "%s of %s, %d\n", key, id, round), 200+round%50)
}

func isTestEntry(key string, data []byte) bool {
	line, _, _ := bytes.Cut(data, []byte("\n"))
	line = append(line[:len(line):len(line)], '\n')
	n := len(data) / len(line)
	return bytes.HasPrefix(data, []byte(key+" of ")) && n >= 200 && bytes.Equal(data, bytes.Repeat(line, n))
}

// startProcess starts such a process. wrote waits until it has written so many
// entries, and fails for all else that it says.
func startProcess(t *testing.T, dir, id string) (wrote func(n int), kill func()) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestStoreProcess$")
	cmd.Env = append(os.Environ(), childEnv+"="+dir+"|"+id)
	in, err := cmd.StdinPipe() // which ends with us, however we end
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	kill = sync.OnceFunc(func() {
		cmd.Process.Kill()
		for lines.Scan() {
		}
		cmd.Wait()
		in.Close()
	})
	t.Cleanup(kill)
	return func(n int) {
		for n > 0 {
			if !lines.Scan() {
				t.Fatalf("process %s has ended", id)
			}
			if lines.Text() != "ok" {
				t.Fatalf("process %s: %s", id, lines.Text())
			}
			n--
		}
	}, kill
}

// Several processes write to the same keys, evict each other's entries and are
// killed wherever they are: each entry that is there is one that was written.
func TestStoreProcesses(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir := t.TempDir()
	s := open(dir, sharedBytes)
	var wg sync.WaitGroup
	for p := range 3 {
		wg.Go(func() {
			for life := range 3 {
				wrote, kill := startProcess(t, dir, fmt.Sprintf("p%d-%d", p, life))
				wrote(60)
				kill()
			}
		})
	}
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	seen := 0
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		for k := range 8 {
			key := fmt.Sprint("shared-", k)
			data, err := get(s, key)
			switch {
			case err == nil && !isTestEntry(key, data):
				t.Fatalf("%s has an entry that no process wrote: %d bytes", key, len(data))
			case err == nil:
				seen++
			case !errors.Is(err, fs.ErrNotExist):
				t.Fatal(err)
			}
		}
		var sum int64
		for _, size := range files(t, dir) {
			sum += (size + 4095) &^ 4095
		}
		// Three processes at once: a sixteenth for each of two, and what each is
		// writing, with that of those that died.
		if limit := int64(sharedBytes + sharedBytes/8 + 12*20_000); sum > limit {
			t.Fatalf("%d bytes in files, want at most %d", sum, limit)
		}
	}
	if seen == 0 {
		t.Error("no entry was seen")
	}
}

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// commit writes files into a repository and commits them.
func commit(t *testing.T, dir, subject string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"add", "-A"}, {"-c", "user.name=a", "-c", "user.email=a@b.test", "commit", "-qm", subject}} {
		if _, err := git(dir, args...); err != nil {
			t.Fatal(err)
		}
	}
}

const testHead = "package p\n\nimport \"testing\"\n\n"

func TestProve(t *testing.T) {
	t.Setenv("GOWORK", "off")
	dir := t.TempDir()
	if _, err := git(dir, "init", "-q"); err != nil {
		t.Fatal(err)
	}
	commit(t, dir, "first", map[string]string{
		"go.mod":    "module p\n\ngo 1.25.0\n",
		"p.go":      "package p\n\nfunc sum(a, b int) int { return a - b }\n",
		"p_test.go": testHead + "func TestOld(t *testing.T) {}\n",
	})
	commit(t, dir, "p: add instead of subtracting", map[string]string{
		"p.go": "package p\n\nfunc sum(a, b int) int { return a + b }\n",
		"p_test.go": testHead + "func TestOld(t *testing.T) {}\n\nfunc TestSum(t *testing.T) {\n\tif sum(1, 1) != 2 {\n\t\tt.Error()\n\t}\n}\n\n" +
			"func TestZero(t *testing.T) {\n\tif sum(0, 0) != 0 {\n\t\tt.Error()\n\t}\n}\n",
	})
	var b bytes.Buffer
	proved, err := prove(&b, dir, "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	got := regexp.MustCompile("(?m)^[0-9a-f]+").ReplaceAllString(b.String(), "H")
	if want := "H p: add instead of subtracting\n\t. TestSum: fails\n\t. TestZero: passes\n"; got != want || !proved {
		t.Errorf("prove prints\n%swant\n%s, proved %v, want true", got, want, proved)
	}

	commit(t, dir, "p: rename nothing", map[string]string{"q.go": "package p\n"})
	if proved, err := prove(&b, dir, "HEAD"); proved || err != nil {
		t.Errorf("prove of a commit without tests = %v, %v, want false", proved, err)
	}
}

func TestTouched(t *testing.T) {
	const diff = `diff --git a/p_test.go b/p_test.go
--- a/p_test.go
+++ b/p_test.go
@@ -1,9 +1,9 @@
 func TestSame(t *testing.T) {
 }
 
 func TestChanged(t *testing.T) {
-	old()
+	new()
 }
@@ -20,3 +20,6 @@
+func TestNew(t *testing.T) {
+}
-func TestGone(t *testing.T) {
-}
+func helper() {
+}
+func FuzzNew(f *testing.F) {
+}
`
	if got, want := touched(diff), []string{"TestChanged", "TestNew", "FuzzNew"}; !slices.Equal(got, want) {
		t.Errorf("touched = %q, want %q", got, want)
	}
}

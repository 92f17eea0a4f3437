package canon

import "testing"

// TestPoolForgets: nothing of a document waits in memory for the next.
func TestPoolForgets(t *testing.T) {
	d := docs.New().(*doc)
	d.b, d.open, d.members = []byte("secret"), []member{{name: []byte("secret")}}, []member{{name: []byte("secret")}}
	copy(d.out[:], "secret")
	open, members := d.open, d.members
	if d.free(); d.b != nil || d.out != [512]byte{} || open[0].name != nil || members[0].name != nil {
		t.Errorf("the pool keeps %q, %q, %q, %q", d.b, d.out, open[0].name, members[0].name)
	}
}

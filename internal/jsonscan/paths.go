package jsonscan

import (
	"slices"
	"strings"
)

// maxText is how much of a name or a scalar a [Scanner] holds.
const maxText = 64

// Paths is a set of places in a document, each with a tag that says what it
// means to the caller. It is immutable.
type Paths struct{ nodes []node }

type node struct {
	tag   uint8
	raw   bool
	any   uint16 // the child for a member without an edge, 0 for none
	edges []edge // in the order of their names' lengths
	// from[n] is where the names of n bytes begin. A document has many names and
	// few of them are on a path: the others mostly have a length that none has.
	from [maxText + 2]uint8
}

type edge struct {
	name string
	to   uint16
}

// Nodes 0 and 1 of every Paths: what no path leads through, and the document.
const (
	nowhere = 0
	root    = 1
)

// Compile makes Paths of member names joined by dots, as in "usage.input_tokens".
// The name * matches every member that has no path of its own beside it. Arrays
// are not part of a path: it leads through them to each element, so
// "choices.index" is the index of every choice. Tag 0 says that a place means
// nothing, although * would match it. Values with a tag in raw are also handed to
// [Visitor.Raw]. It panics on a name that is empty or that a Scanner cannot hold,
// and on 256 names in one object, which are mistakes in the caller's table.
func Compile(table map[string]uint8, raw ...uint8) *Paths {
	p := &Paths{nodes: make([]node, 2)}
	for path, tag := range table {
		at := uint16(root)
		for name := range strings.SplitSeq(path, ".") {
			if name == "" || len(name) > maxText {
				panic("jsonscan: no name for a path: " + path)
			}
			at = p.extend(at, name)
		}
		p.nodes[at].tag = tag
		p.nodes[at].raw = slices.Contains(raw, tag)
	}
	return p
}

func (p *Paths) extend(at uint16, name string) uint16 {
	if to := p.step(at, []byte(name)); to != nowhere && to != p.nodes[at].any {
		return to
	}
	if name == "*" && p.nodes[at].any != nowhere {
		return p.nodes[at].any
	}
	to := uint16(len(p.nodes))
	p.nodes = append(p.nodes, node{})
	n := &p.nodes[at]
	if len(n.edges) == 255 {
		panic("jsonscan: too many names beside: " + name)
	}
	if name == "*" {
		n.any = to
		return to
	}
	n.edges = slices.Insert(n.edges, int(n.from[len(name)+1]), edge{name, to})
	for i := len(name) + 1; i < len(n.from); i++ {
		n.from[i]++
	}
	return to
}

// step returns the node of the member name of an object at a node.
func (p *Paths) step(at uint16, name []byte) uint16 {
	n := &p.nodes[at]
	if len(name) <= maxText {
		for _, e := range n.edges[n.from[len(name)]:n.from[len(name)+1]] {
			if e.name[0] == name[0] && e.name == string(name) {
				return e.to
			}
		}
	}
	return n.any
}

// leaf reports that no path goes on from a node.
func (p *Paths) leaf(at uint16) bool {
	return len(p.nodes[at].edges) == 0 && p.nodes[at].any == nowhere
}

package clean

// High uses everything below.
type High struct {
	Base
	pair
}

// Use uses it.
func (h *High) Use() int {
	h.Add(Limit)
	h.other.swap()
	return h.Count + local()
}

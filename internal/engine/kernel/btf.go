package kernel

import "encoding/binary"

// Kinds and encodings of BTF (Documentation/bpf/btf.rst).
const (
	btfMagic   = 0xeb9f
	kindInt    = 1
	kindArray  = 3
	kindStruct = 4
)

// lockSize is sizeof(struct bpf_spin_lock).
const lockSize = 4

// btfWriter lays out types one after another, numbered from 1.
type btfWriter struct {
	types   []byte
	strings []byte
	n       uint32
}

// typ starts a type; sizeOrType is its size in bytes.
func (w *btfWriter) typ(name string, kind, members, size uint32) uint32 {
	w.words(w.name(name), kind<<24|members, size)
	w.n++
	return w.n
}

func (w *btfWriter) words(words ...uint32) {
	for _, v := range words {
		w.types = binary.LittleEndian.AppendUint32(w.types, v)
	}
}

// name is the offset of s among the strings; "" is offset 0.
func (w *btfWriter) name(s string) uint32 {
	if s == "" {
		return 0
	}
	at := len(w.strings)
	w.strings = append(append(w.strings, s...), 0)
	return uint32(at)
}

// bytes puts the header before types and strings.
func (w *btfWriter) bytes() []byte {
	const headerSize = 24
	head := binary.LittleEndian.AppendUint16(nil, btfMagic)
	head = append(head, 1, 0) // version, flags
	for _, v := range []int{headerSize, 0, len(w.types), len(w.types), len(w.strings)} {
		head = binary.LittleEndian.AppendUint32(head, uint32(v))
	}
	return append(append(head, w.types...), w.strings...)
}

// valueBTF describes a map with a key and a value of these sizes in bytes, the
// value with a struct bpf_spin_lock at offset lock unless that is negative. Task
// storage is not created without, and a lock is found by it alone. The bytes
// around the lock are of no concern to the kernel. A key of four bytes is an
// integer, which arrays and task storage insist on.
func valueBTF(key, size uint32, lock int) (data []byte, keyID, valueID uint32) {
	w := &btfWriter{strings: []byte{0}}
	word := w.typ("int", kindInt, 0, 4)
	w.words(32) // unsigned, offset 0, 32 bits
	octet := w.typ("u8", kindInt, 0, 1)
	w.words(8)
	spin := w.typ("bpf_spin_lock", kindStruct, 1, lockSize)
	w.words(w.name("val"), word, 0)
	octets := func(n uint32) uint32 {
		id := w.typ("", kindArray, 0, 0)
		w.words(octet, word, n)
		return id
	}
	if keyID = word; key != 4 {
		keyID = octets(key)
	}
	fields := fieldsAround(size, lock)
	for i, f := range fields {
		if fields[i].id = spin; f.name != "lock" {
			fields[i].id = octets(f.size)
		}
	}
	valueID = w.typ("value", kindStruct, uint32(len(fields)), size)
	for _, f := range fields {
		w.words(w.name(f.name), f.id, f.offset*8)
	}
	return w.bytes(), keyID, valueID
}

// field is a member of the value.
type field struct {
	name             string
	offset, size, id uint32
}

// fieldsAround is the lock, and the bytes before and after it where there are any.
func fieldsAround(size uint32, lock int) []field {
	if lock < 0 {
		return []field{{name: "bytes", size: size}}
	}
	at := uint32(lock)
	var list []field
	if at > 0 {
		list = append(list, field{name: "before", size: at})
	}
	list = append(list, field{name: "lock", offset: at, size: lockSize})
	if end := at + lockSize; end < size {
		list = append(list, field{name: "after", offset: end, size: size - end})
	}
	return list
}

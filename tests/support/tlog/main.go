// Reads an exported log as any client of a tiled log would, with golang.org/x/mod/sumdb: the
// checkpoint's signature, every tile against the root, every entry against its tile.
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

func fail(format string, args ...any) {
	fmt.Printf(format+"\n", args...)
	os.Exit(1)
}

// The library says tile/8/<level>/...; the files are named tile/<level>/...
type tiles string

func (dir tiles) Height() int { return height }

func (dir tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var out [][]byte
	for _, tile := range wanted {
		name := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(string(dir), name))
		if err != nil {
			return nil, err
		}
		out = append(out, data)
	}
	return out, nil
}

func (dir tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func entries(dir string, size int64) []tlog.Hash {
	var out []tlog.Hash
	for first := int64(0); first < size; first += 256 {
		tile := tlog.Tile{H: height, L: 0, N: first / 256, W: int(min(256, size-first))}
		name := strings.Replace(tile.Path(), "tile/8/0/", "tile/entries/", 1)
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			fail("%v", err)
		}
		for len(data) > 0 {
			n := int(binary.BigEndian.Uint16(data))
			out = append(out, tlog.RecordHash(data[2:2+n]))
			data = data[2+n:]
		}
	}
	return out
}

func min(a, b int64) int64 {
	if a < b {
		return a
	}
	return b
}

func main() {
	dir := os.Args[1]
	verifier, err := note.NewVerifier(os.Args[2])
	if err != nil {
		fail("%v", err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		fail("%v", err)
	}
	signed, err := note.Open(data, note.VerifierList(verifier))
	if err != nil {
		fail("%v", err)
	}
	lines := strings.Split(signed.Text, "\n")
	var tree tlog.Tree
	if _, err := fmt.Sscan(lines[1], &tree.N); err != nil {
		fail("%v", err)
	}
	if tree.Hash, err = tlog.ParseHash(lines[2]); err != nil {
		fail("%v", err)
	}
	hashes := entries(dir, tree.N)
	if int64(len(hashes)) != tree.N {
		fail("%d entries, size %d", len(hashes), tree.N)
	}
	reader := tlog.TileHashReader(tree, tiles(dir))
	for index, hash := range hashes {
		there, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, int64(index))})
		if err != nil {
			fail("%v", err)
		}
		if there[0] != hash {
			fail("entry %d is not that of its tile", index)
		}
	}
	fmt.Printf("ok %d\n", tree.N)
}

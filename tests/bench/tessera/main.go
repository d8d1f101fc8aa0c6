// The reference of bench_verify.py: the fsck of Tessera over a log in a folder, as its own command
// runs it, without the display.  Prints nothing; ends with 1 when the log is not whole.
//
//	fsck FOLDER KEY WORKERS
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strconv"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"k8s.io/klog/v2"
)

func leafHashes(bundle []byte) ([][]byte, error) {
	var entries api.EntryBundle
	if err := entries.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	hashes := make([][]byte, 0, len(entries.Entries))
	for _, entry := range entries.Entries {
		hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(entry))
	}
	return hashes, nil
}

func check(folder, key, workers string) error {
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return err
	}
	n, err := strconv.ParseUint(workers, 10, 8)
	if err != nil {
		return err
	}
	log := fsck.New(verifier.Name(), verifier, &client.FileFetcher{Root: folder}, leafHashes,
		fsck.Opts{N: uint(n)})
	return log.Check(context.Background())
}

func main() {
	klog.InitFlags(nil)
	_ = flag.Set("logtostderr", "false")
	_ = flag.Set("stderrthreshold", "FATAL")
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: fsck FOLDER KEY WORKERS")
		os.Exit(64)
	}
	if err := check(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strconv"
	"strings"

	"filippo.io/torchwood"
	"github.com/uptrace/bun"
	"golang.org/x/mod/sumdb/tlog"
)

// Tile is a tile of the tree, or for level -1 a bundle of entries, in the format of c2sp.org/tlog-tiles. It gives
// fs.ErrNotExist for a tile that the newest checkpoint does not cover.
func (l *Log) Tile(ctx context.Context, tile tlog.Tile) ([]byte, error) {
	row, err := newestCheckpoint(ctx, l.db)
	if err != nil {
		return nil, err
	}
	level := max(tile.L, 0)
	if tile.H != torchwood.TileHeight || tile.N < 0 || tile.W < 1 || tile.W > torchwood.TileWidth || level > 7 ||
		tile.N > row.Size || tile.N<<torchwood.TileHeight+int64(tile.W) > row.Size>>(level*torchwood.TileHeight) {
		return nil, fs.ErrNotExist
	}
	return readTile(ctx, l.db, tile)
}

func readTile(ctx context.Context, db *bun.DB, tile tlog.Tile) ([]byte, error) {
	if tile.L >= 0 {
		return tlog.ReadTileData(tile, hashReader(ctx, db))
	}
	first := tile.N << torchwood.TileHeight
	var rows []entryRow
	err := db.NewSelect().Model(&rows).Column("idx", "leaf").
		Where("idx >= ? AND idx < ?", first, first+int64(tile.W)).Order("idx").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read entries: %w", err)
	}
	var bundle []byte
	for i, row := range rows {
		if row.Index != first+int64(i) {
			return nil, fmt.Errorf("%w: entry %d is missing", ErrDamaged, first+int64(i))
		}
		if bundle, err = torchwood.AppendTileEntry(bundle, row.Leaf); err != nil {
			return nil, fmt.Errorf("%w: entry %d: %w", ErrDamaged, row.Index, err)
		}
	}
	if len(rows) != tile.W {
		return nil, fmt.Errorf("%w: entry %d is missing", ErrDamaged, first+int64(len(rows)))
	}
	return bundle, nil
}

// ServeHTTP serves the log to clients of c2sp.org/tlog-tiles: /checkpoint, /tile/<level>/<number> and
// /tile/entries/<number>. Entries name grants, jobs and objects in clear, so it must stand behind a check that the
// reader may see the log.
func (l *Log) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	path := strings.TrimPrefix(r.URL.Path, "/")
	var body []byte
	var err error
	kind, keep := "application/octet-stream", "private, max-age=31536000, immutable"
	if path == "checkpoint" {
		kind, keep = "text/plain; charset=utf-8", "no-cache"
		body, err = l.Checkpoint(r.Context())
	} else if tile, bad := torchwood.ParseTilePath(path); bad != nil {
		err = fs.ErrNotExist
	} else {
		body, err = l.Tile(r.Context(), tile)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		http.Error(w, "not found", http.StatusNotFound)
	case err != nil:
		http.Error(w, "the audit log cannot be read", http.StatusInternalServerError)
	default:
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Cache-Control", keep)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.Write(body)
	}
}

// tileReader lets torchwood's client read the log without a server.
type tileReader struct{ db *bun.DB }

func (t tileReader) ReadTiles(ctx context.Context, tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	for i, tile := range tiles {
		var err error
		if data[i], err = readTile(ctx, t.db, tile); err != nil {
			return nil, err
		}
	}
	return data, nil
}

func (t tileReader) SaveTiles([]tlog.Tile, [][]byte) {}

func (t tileReader) ReadEndpoint(ctx context.Context, path string) ([]byte, error) {
	if path != "checkpoint" {
		return nil, fs.ErrNotExist
	}
	row, err := newestCheckpoint(ctx, t.db)
	return row.Note, err
}

// blocks reads hashes a block of entries at a time and remembers the last ones: proofs of one checkpoint after
// the other need the same few blocks.
type blocks struct {
	ctx    context.Context
	db     *bun.DB
	held   map[int64]map[int64]*hashRow
	before map[int64]map[int64]*hashRow
}

const blockEntries, blocksHeld = 256, 64

func newBlocks(ctx context.Context, db *bun.DB) *blocks {
	return &blocks{ctx: ctx, db: db, held: map[int64]map[int64]*hashRow{}}
}

// ReadHashes implements tlog.HashReader.
func (b *blocks) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		entry, level := storedWith(index)
		block, err := b.block(entry / blockEntries)
		if err != nil {
			return nil, err
		}
		row := block[entry]
		if row == nil {
			row = &hashRow{}
		}
		if err := cut(&hashes[i], row.Hashes, level); err != nil {
			return nil, fmt.Errorf("%w: hash %s: %w", ErrDamaged, hashName(index), err)
		}
	}
	return hashes, nil
}

func (b *blocks) block(n int64) (map[int64]*hashRow, error) {
	if rows, ok := b.held[n]; ok {
		return rows, nil
	}
	if len(b.held) >= blocksHeld { // the generation before is forgotten, except for what is asked for again
		b.held, b.before = map[int64]map[int64]*hashRow{}, b.held
	}
	rows, ok := b.before[n]
	if !ok {
		var err error
		rows, err = collect(b.ctx, b.db, "idx >= ? AND idx < ?", n*blockEntries, (n+1)*blockEntries,
			func(r *hashRow) int64 { return r.Index })
		if err != nil {
			return nil, err
		}
	}
	b.held[n] = rows
	return rows, nil
}

package worker

import (
	"bufio"
	"encoding/binary"
	"hash/crc32"
	"io"
	"os"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// maxFooter is the most bytes of a Parquet file's own description.
const maxFooter = 64 << 20

// checkPages holds every page of a Parquet file to its checksum, where it has one. The engine's reader does not look at them.
func checkPages(file *os.File) error {
	damaged := bad("unreadable")
	info, err := file.Stat()
	if err != nil {
		return err
	}
	var tail [8]byte
	if _, err := file.ReadAt(tail[:], info.Size()-int64(len(tail))); err != nil || string(tail[4:]) != "PAR1" {
		return damaged
	}
	length := int64(binary.LittleEndian.Uint32(tail[:4]))
	from := info.Size() - int64(len(tail)) - length
	if from < 4 || length > maxFooter {
		return damaged
	}
	var described format.FileMetaData
	if err := decodeThrift(bufio.NewReader(io.NewSectionReader(file, from, length)), &described); err != nil {
		return damaged
	}
	for _, group := range described.RowGroups {
		for _, column := range group.Columns {
			start := column.MetaData.DataPageOffset
			if dictionary := column.MetaData.DictionaryPageOffset; dictionary > 0 && dictionary < start {
				start = dictionary
			}
			length := column.MetaData.TotalCompressedSize
			if start < 0 || length < 0 || start+length > from {
				return damaged
			}
			if err := checkChunk(io.NewSectionReader(file, start, length)); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkChunk holds the pages of one column of one row group to their checksums (CRC-32 of IEEE 802.3, over the page as it
// is stored, without its header).
func checkChunk(chunk io.Reader) error {
	pages := bufio.NewReaderSize(chunk, 1<<16)
	for {
		if _, err := pages.Peek(1); err == io.EOF {
			return nil
		}
		var header format.PageHeader
		if err := decodeThrift(pages, &header); err != nil || header.CompressedPageSize < 0 {
			return bad("unreadable")
		}
		sum := crc32.NewIEEE()
		if _, err := io.CopyN(sum, pages, int64(header.CompressedPageSize)); err != nil {
			return bad("unreadable")
		}
		if header.CRC != 0 && uint32(header.CRC) != sum.Sum32() {
			return bad("checksum")
		}
	}
}

func decodeThrift(from io.Reader, into any) error {
	var protocol thrift.CompactProtocol
	return thrift.NewDecoder(protocol.NewReader(from)).Decode(into)
}

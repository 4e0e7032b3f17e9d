#include "textflag.h"

// func products(a, b *uint32, n int) (high, low uint64)
//
// Sixteen products of numbers below 2^31 at a time: four of them have 64 bits together, and what is above 32 of these is added up apart.
TEXT ·products(SB), NOSPLIT, $0-40
	MOVQ a+0(FP), SI
	MOVQ b+8(FP), DI
	MOVQ n+16(FP), CX
	VPXOR Y0, Y0, Y0       // low
	VPXOR Y1, Y1, Y1       // high
	VPCMPEQD Y7, Y7, Y7
	VPSRLQ $32, Y7, Y7     // the lower half of each 64 bits

sixteen:
	SUBQ $16, CX
	JLT done
	VMOVDQU (SI), Y2
	VMOVDQU (DI), Y3
	VMOVDQU 32(SI), Y8
	VMOVDQU 32(DI), Y9
	VPMULUDQ Y2, Y3, Y4
	VPSRLQ $32, Y2, Y2
	VPSRLQ $32, Y3, Y3
	VPMULUDQ Y2, Y3, Y5
	VPMULUDQ Y8, Y9, Y10
	VPSRLQ $32, Y8, Y8
	VPSRLQ $32, Y9, Y9
	VPMULUDQ Y8, Y9, Y11
	VPADDQ Y4, Y5, Y4
	VPADDQ Y10, Y11, Y10
	VPADDQ Y4, Y10, Y4
	VPAND Y4, Y7, Y5
	VPSRLQ $32, Y4, Y4
	VPADDQ Y5, Y0, Y0
	VPADDQ Y4, Y1, Y1
	ADDQ $64, SI
	ADDQ $64, DI
	JMP sixteen

done:
	VEXTRACTI128 $1, Y0, X2
	VEXTRACTI128 $1, Y1, X3
	VPADDQ X0, X2, X0
	VPADDQ X1, X3, X1
	VPSRLDQ $8, X0, X2
	VPSRLDQ $8, X1, X3
	VPADDQ X0, X2, X0
	VPADDQ X1, X3, X1
	VMOVQ X1, high+24(FP)
	VMOVQ X0, low+32(FP)
	VZEROUPPER
	RET

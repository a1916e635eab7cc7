#include "tests/unit/shadow_sample_forms.h"

#include "shadow/rflags.h"

#define LOGIC RFLAGS_AF
#define BIT (RFLAGS_OF | RFLAGS_SF | RFLAGS_AF | RFLAGS_PF)

#define OP1(a) .opcode = {a}, .opcode_size = 1
#define OP2(a, b) .opcode = {a, b}, .opcode_size = 2
#define BYTE .size = 1, .fixed = true
#define BY_REG .digit = -1
#define BY_DIGIT(n) .digit = n

#define ALU(text, n, may_lock, w, u) \
	{text " m8,r8", OP1(n), BY_REG, BYTE, .lock = may_lock, .writes = w, .undefined = u}, \
	{text " m,r", OP1(n + 1), BY_REG, .lock = may_lock, .writes = w, .undefined = u}, \
	{text " r8,m8", OP1(n + 2), BY_REG, BYTE, .undefined = u}, \
	{text " r,m", OP1(n + 3), BY_REG, .undefined = u}, \
	{text " m8,imm8", OP1(0x80), BY_DIGIT(n / 8), BYTE, .imm = IMM_8, .lock = may_lock, .writes = w, .undefined = u}, \
	{text " m,imm", OP1(0x81), BY_DIGIT(n / 8), .imm = IMM_Z, .lock = may_lock, .writes = w, .undefined = u}, \
	{text " m,imm8", OP1(0x83), BY_DIGIT(n / 8), .imm = IMM_8, .lock = may_lock, .writes = w, .undefined = u}

#define UNARY(text, low, n, u) \
	{text " m8", OP1(low), BY_DIGIT(n), BYTE, .lock = true, .writes = true, .undefined = u}, \
	{text " m", OP1(low + 1), BY_DIGIT(n), .lock = true, .writes = true, .undefined = u}

#define SHIFT(text, n) \
	{text " m8,imm8", OP1(0xc0), BY_DIGIT(n), BYTE, .imm = IMM_8, .kind = KIND_SHIFT, .writes = true}, \
	{text " m,imm8", OP1(0xc1), BY_DIGIT(n), .imm = IMM_8, .kind = KIND_SHIFT, .writes = true}, \
	{text " m8,1", OP1(0xd0), BY_DIGIT(n), BYTE, .kind = KIND_SHIFT, .writes = true}, \
	{text " m,1", OP1(0xd1), BY_DIGIT(n), .kind = KIND_SHIFT, .writes = true}, \
	{text " m8,cl", OP1(0xd2), BY_DIGIT(n), BYTE, .kind = KIND_SHIFT, .writes = true}, \
	{text " m,cl", OP1(0xd3), BY_DIGIT(n), .kind = KIND_SHIFT, .writes = true}

#define BITS(text, low, n, w) \
	{text " m,r", OP2(0x0f, low), BY_REG, .kind = KIND_BIT, .lock = w, .writes = w, .undefined = BIT}, \
	{text " m,imm8", OP2(0x0f, 0xba), BY_DIGIT(n), .imm = IMM_8, .lock = w, .writes = w, .undefined = BIT}

#define CONDITION(n) \
	{"setcc m8 " #n, OP2(0x0f, 0x90 + n), BY_DIGIT(0), BYTE, .writes = true}, \
	{"cmovcc r,m " #n, OP2(0x0f, 0x40 + n), BY_REG}

#define STRING(text, low, k) \
	{text "b", OP1(low), .no_modrm = true, BYTE, .kind = k}, \
	{text, OP1(low + 1), .no_modrm = true, .kind = k}, \
	{"rep " text "b", OP1(low), .no_modrm = true, BYTE, .kind = k, .prefix = 0xf3}, \
	{"rep " text, OP1(low + 1), .no_modrm = true, .kind = k, .prefix = 0xf3}, \
	{"repne " text, OP1(low + 1), .no_modrm = true, .kind = k, .prefix = 0xf2}

#define SSE(text, p, op, bytes, must_align, w) \
	{text, OP2(0x0f, op), BY_REG, .prefix = p, .size = bytes, .fixed = true, .kind = KIND_SSE, .memory_only = true, \
	 .aligned = must_align, .writes = w}

const struct sample_form sample_forms[] = {
	ALU("add", 0x00, true, true, 0),
	ALU("or", 0x08, true, true, LOGIC),
	ALU("adc", 0x10, true, true, 0),
	ALU("sbb", 0x18, true, true, 0),
	ALU("and", 0x20, true, true, LOGIC),
	ALU("sub", 0x28, true, true, 0),
	ALU("xor", 0x30, true, true, LOGIC),
	ALU("cmp", 0x38, false, false, 0),
	{"test m8,r8", OP1(0x84), BY_REG, BYTE, .undefined = LOGIC},
	{"test m,r", OP1(0x85), BY_REG, .undefined = LOGIC},
	{"test m8,imm8", OP1(0xf6), BY_DIGIT(0), BYTE, .imm = IMM_8, .undefined = LOGIC},
	{"test m,imm", OP1(0xf7), BY_DIGIT(0), .imm = IMM_Z, .undefined = LOGIC},
	UNARY("not", 0xf6, 2, 0),
	UNARY("neg", 0xf6, 3, 0),
	UNARY("inc", 0xfe, 0, 0),
	UNARY("dec", 0xfe, 1, 0),
	SHIFT("shl", 4),
	SHIFT("shr", 5),
	SHIFT("sal", 6),
	SHIFT("sar", 7),
	BITS("bt", 0xa3, 4, false),
	BITS("bts", 0xab, 5, true),
	BITS("btr", 0xb3, 6, true),
	BITS("btc", 0xbb, 7, true),
	{"mov m8,r8", OP1(0x88), BY_REG, BYTE, .writes = true},
	{"mov m,r", OP1(0x89), BY_REG, .writes = true},
	{"mov r8,m8", OP1(0x8a), BY_REG, BYTE},
	{"mov r,m", OP1(0x8b), BY_REG},
	{"mov m8,imm8", OP1(0xc6), BY_DIGIT(0), BYTE, .imm = IMM_8, .writes = true},
	{"mov m,imm", OP1(0xc7), BY_DIGIT(0), .imm = IMM_Z, .writes = true},
	{"mov al,moffs", OP1(0xa0), .no_modrm = true, BYTE, .kind = KIND_MOFFS},
	{"mov rax,moffs", OP1(0xa1), .no_modrm = true, .kind = KIND_MOFFS},
	{"mov moffs,al", OP1(0xa2), .no_modrm = true, BYTE, .kind = KIND_MOFFS, .writes = true},
	{"mov moffs,rax", OP1(0xa3), .no_modrm = true, .kind = KIND_MOFFS, .writes = true},
	{"movnti m,r", OP2(0x0f, 0xc3), BY_REG, .memory_only = true, .writes = true},
	{"movzx r,m8", OP2(0x0f, 0xb6), BY_REG, .size = 1},
	{"movzx r,m16", OP2(0x0f, 0xb7), BY_REG, .size = 2},
	{"movsx r,m8", OP2(0x0f, 0xbe), BY_REG, .size = 1},
	{"movsx r,m16", OP2(0x0f, 0xbf), BY_REG, .size = 2},
	{"movsxd r,m32", OP1(0x63), BY_REG, .size = 4},
	{"xchg m8,r8", OP1(0x86), BY_REG, BYTE, .lock = true, .writes = true},
	{"xchg m,r", OP1(0x87), BY_REG, .lock = true, .writes = true},
	{"xadd m8,r8", OP2(0x0f, 0xc0), BY_REG, BYTE, .lock = true, .writes = true},
	{"xadd m,r", OP2(0x0f, 0xc1), BY_REG, .lock = true, .writes = true},
	{"cmpxchg m8,r8", OP2(0x0f, 0xb0), BY_REG, BYTE, .lock = true, .kind = KIND_CMPXCHG, .writes = true},
	{"cmpxchg m,r", OP2(0x0f, 0xb1), BY_REG, .lock = true, .kind = KIND_CMPXCHG, .writes = true},
	{"cmpxchg8b m", OP2(0x0f, 0xc7), BY_DIGIT(1), .memory_only = true, .lock = true, .kind = KIND_CMPXCHG_PAIR,
	 .writes = true},
	{"push m", OP1(0xff), BY_DIGIT(6), .kind = KIND_PUSH},
	{"push r", OP1(0x50), .no_modrm = true, .kind = KIND_PUSH},
	{"push imm8", OP1(0x6a), .no_modrm = true, .imm = IMM_8, .kind = KIND_PUSH},
	{"push imm", OP1(0x68), .no_modrm = true, .imm = IMM_Z, .kind = KIND_PUSH},
	{"pop m", OP1(0x8f), BY_DIGIT(0), .kind = KIND_POP, .writes = true},
	{"pop r", OP1(0x58), .no_modrm = true, .kind = KIND_POP},
	{"call rel32", OP1(0xe8), .no_modrm = true, .size = 8, .fixed = true, .kind = KIND_CALL_RELATIVE},
	{"call m", OP1(0xff), BY_DIGIT(2), .size = 8, .fixed = true, .kind = KIND_CALL},
	STRING("stos", 0xaa, KIND_STOS),
	STRING("lods", 0xac, KIND_LODS),
	STRING("movs", 0xa4, KIND_MOVS),
	CONDITION(0), CONDITION(1), CONDITION(2), CONDITION(3), CONDITION(4), CONDITION(5), CONDITION(6), CONDITION(7),
	CONDITION(8), CONDITION(9), CONDITION(10), CONDITION(11), CONDITION(12), CONDITION(13), CONDITION(14),
	CONDITION(15),
	SSE("movups x,m", 0, 0x10, 16, false, false),
	SSE("movups m,x", 0, 0x11, 16, false, true),
	SSE("movupd x,m", 0x66, 0x10, 16, false, false),
	SSE("movupd m,x", 0x66, 0x11, 16, false, true),
	SSE("movaps x,m", 0, 0x28, 16, true, false),
	SSE("movaps m,x", 0, 0x29, 16, true, true),
	SSE("movapd x,m", 0x66, 0x28, 16, true, false),
	SSE("movapd m,x", 0x66, 0x29, 16, true, true),
	SSE("movntps m,x", 0, 0x2b, 16, true, true),
	SSE("movntpd m,x", 0x66, 0x2b, 16, true, true),
	SSE("movdqa x,m", 0x66, 0x6f, 16, true, false),
	SSE("movdqa m,x", 0x66, 0x7f, 16, true, true),
	SSE("movdqu x,m", 0xf3, 0x6f, 16, false, false),
	SSE("movdqu m,x", 0xf3, 0x7f, 16, false, true),
	SSE("movntdq m,x", 0x66, 0xe7, 16, true, true),
	SSE("movq x,m", 0xf3, 0x7e, 8, false, false),
	SSE("movq m,x", 0x66, 0xd6, 8, false, true),
	/* With REX.W these two are MOVQ. */
	{"movd x,m", OP2(0x0f, 0x6e), BY_REG, .prefix = 0x66, .kind = KIND_SSE, .memory_only = true},
	{"movd m,x", OP2(0x0f, 0x7e), BY_REG, .prefix = 0x66, .kind = KIND_SSE, .memory_only = true, .writes = true},
};

const size_t sample_form_count = sizeof(sample_forms) / sizeof(*sample_forms);

/* What is compiled for certmedic-full asks for these functions in the version that every glibc on amd64 has. Since 2.29 there is a second
   version, which differs in errno alone, and the linker would take that one. */
#ifndef __ASSEMBLER__
__asm__(".symver exp,exp@GLIBC_2.2.5");
__asm__(".symver exp2,exp2@GLIBC_2.2.5");
__asm__(".symver log,log@GLIBC_2.2.5");
__asm__(".symver log2,log2@GLIBC_2.2.5");
__asm__(".symver pow,pow@GLIBC_2.2.5");
#endif

/*
 * The bytes of the image mmucost as it was built with this program (benchmark_guest_image.S).
 */
#pragma once

extern const unsigned char benchmark_guest_image[], benchmark_guest_image_end[];

# cuda.cmake -- the plugin omendb_gpu.so of all .cu files in gpu/.
#
# It is loaded at run time (gpu/device.c), from lib/omendb once it is installed: neither the library nor the daemon needs CUDA or libstdc++. cuBLAS is not used.
# Machine code for the two generations that are about, and PTX, of which the driver makes code for later ones.
set(CMAKE_CUDA_COMPILER "${OMENDB_CUDA_ROOT}/bin/nvcc" CACHE FILEPATH "")
set(CUDAToolkit_ROOT "${OMENDB_CUDA_ROOT}" CACHE PATH "")
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90a-real 90-virtual)
endif()
enable_language(CXX)
enable_language(CUDA)
find_package(CUDAToolkit 13.0 REQUIRED)
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)

file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/gpu/*.cu)
add_library(omendb_gpu MODULE ${sources})
set_target_properties(omendb_gpu PROPERTIES PREFIX "" CUDA_STANDARD 17 CUDA_STANDARD_REQUIRED ON CUDA_EXTENSIONS OFF
  CUDA_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden)
target_include_directories(omendb_gpu PRIVATE ${PROJECT_SOURCE_DIR})
# No contraction: what the oracle rounds twice is rounded twice here.
target_compile_options(omendb_gpu PRIVATE --fmad=false -lineinfo -Xptxas -warn-spills -Xcompiler -Wall)
target_link_libraries(omendb_gpu PRIVATE CUDA::cudart_static $<TARGET_FILE:omen_base>)
target_link_options(omendb_gpu PRIVATE -Wl,-z,defs -Wl,--exclude-libs,ALL)
add_dependencies(omendb_gpu omen_base)
install(TARGETS omendb_gpu LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/omendb)

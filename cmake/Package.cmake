# The Debian packages: `cmake --build --preset release --target package`, or cpack in the build folder. One for each thing that a machine can be:
#   souk          the workers, soukctl, the function library, their units and documents
#   souk-shard    what a shard begins by, its settings and its unit; Redis itself is the distribution's
#   souk-sandbox  the test gateway
# A package starts, restarts and enables nothing: which worker runs where, and when it may be replaced, is the operator's to say (docs/packages.md).
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME souk)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT "Souk maintainers <souk@localhost>" CACHE STRING "Maintainer field of the packages: name and address")
set(CPACK_PACKAGE_DIRECTORY ${CMAKE_BINARY_DIR}/packages)
set(CPACK_VERBATIM_VARIABLES ON)
# Places are absolute (/etc): installed below DESTDIR, with /usr as prefix, whatever the build was configured with.
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_SOURCE_DIR}/cmake/PackageModes.cmake)
# Programs without their symbols, and those in packages of their own (souk-dbgsym), for whoever reads a core.
set(CPACK_DEBIAN_DEBUGINFO_PACKAGE ON)

set(CPACK_COMPONENTS_ALL souk shard sandbox)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING ONE_PER_GROUP)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

set(CPACK_DEBIAN_SOUK_PACKAGE_NAME souk)
set(CPACK_DEBIAN_SOUK_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_SOUK_PACKAGE_RECOMMENDS redis-tools)
set(CPACK_DEBIAN_SOUK_PACKAGE_CONTROL_EXTRA "${CMAKE_SOURCE_DIR}/deploy/debian/souk/conffiles;${CMAKE_SOURCE_DIR}/deploy/debian/souk/postinst;${CMAKE_SOURCE_DIR}/deploy/debian/souk/prerm;${CMAKE_SOURCE_DIR}/deploy/debian/souk/postrm")
set(CPACK_COMPONENT_SOUK_DESCRIPTION "back end of a shop: catalogue, order and payment workers
Stateless HTTP servers over Redis shards: a catalogue with stock, orders
that are placed over several shards by a two-phase commit, and payments. Any
worker can be killed at any moment without losing, doubling or inventing
anything.

This package has the workers, the operator's command soukctl, and systemd
units.")

set(CPACK_DEBIAN_SHARD_PACKAGE_NAME souk-shard)
set(CPACK_DEBIAN_SHARD_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_SHARD_PACKAGE_DEPENDS "redis-server (>= 5:7.0), systemd | systemd-standalone-sysusers | systemd-sysusers")
set(CPACK_DEBIAN_SHARD_PACKAGE_SUGGESTS souk)
set(CPACK_DEBIAN_SHARD_PACKAGE_CONTROL_EXTRA "${CMAKE_SOURCE_DIR}/deploy/debian/shard/conffiles;${CMAKE_SOURCE_DIR}/deploy/debian/shard/postinst;${CMAKE_SOURCE_DIR}/deploy/debian/shard/prerm;${CMAKE_SOURCE_DIR}/deploy/debian/shard/postrm")
set(CPACK_COMPONENT_SHARD_DESCRIPTION "shards of Souk: Redis servers with the settings of a ledger
The program, the settings and the systemd unit of a shard of Souk, a shop's back end. A
shard writes each change to disk before it acknowledges it, evicts nothing,
and does not start empty once it had data.")

set(CPACK_DEBIAN_SANDBOX_PACKAGE_NAME souk-sandbox)
set(CPACK_DEBIAN_SANDBOX_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_SANDBOX_PACKAGE_CONTROL_EXTRA "${CMAKE_SOURCE_DIR}/deploy/debian/sandbox/conffiles;${CMAKE_SOURCE_DIR}/deploy/debian/sandbox/postinst;${CMAKE_SOURCE_DIR}/deploy/debian/sandbox/prerm;${CMAKE_SOURCE_DIR}/deploy/debian/sandbox/postrm")
set(CPACK_COMPONENT_SANDBOX_DESCRIPTION "test payment gateway of Souk
A payment gateway that takes no money: for tests and demonstrations of Souk, a
shop's back end. It declines, is slow and loses answers on request.")
include(CPack)

# The base of all other images where there is no registry: Debian's own files, chosen in e2e/images, without apt, dpkg, shell or perl.
FROM scratch
ADD rootfs.tar /
ENV PATH=/usr/local/bin:/usr/bin:/bin

// OHIF's configuration, see https://docs.ohif.org (Configuration). Everything is asked of this server under its own address: no CORS,
// no other host.
window.config = {
  name: 'pacs-cloud',
  routerBasename: '/ohif',

  // Empty: OHIF's own extensions and modes, all of them.
  extensions: [],
  modes: [],

  customizationService: {
    global: {
      // The first-run tour darkens the first image that a radiologist opens, on each workstation anew.
      'ohif.tours': { $set: [] },
      // Without "MarkerLabelmap", which fetches its model from a host on the Internet.
      'cornerstone.segmentationToolbarSections': {
        LabelMapTools: { $set: ['LabelmapSlicePropagation', 'BrushTools', 'ClickSegment', 'Shapes', 'LabelMapEditWithContour'] },
      },
    },
  },
  // A notice for the research use of OHIF that asks for a click before the first image; what may be used clinically is the hospital's decision.
  investigationalUseDialog: { option: 'never' },

  showStudyList: true,
  showWarningMessageForCrossOrigin: true,
  showCPUFallbackMessage: true,
  showLoadingIndicator: true,
  strictZSpacingForVolumeViewport: true,
  groupEnabledModesFirst: true,
  // What went wrong, in full, only to people who develop: a stack trace tells a radiologist nothing.
  showErrorDetails: 'production',

  // One processor is left to the page itself. More than 3 is known to trouble some Windows machines.
  maxNumberOfWebWorkers: Math.max(1, Math.min(3, (navigator.hardwareConcurrency || 2) - 1)),
  // A browser opens 6 connections to a server by HTTP/1.1; over them these many wait in its own queue, first come first served, and what
  // the user scrolls to (interaction) would wait behind them.
  maxNumRequests: { interaction: 100, thumbnail: 5, prefetch: 12 },

  defaultDataSourceName: 'pacs',
  dataSources: [
    {
      namespace: '@ohif/extension-default.dataSourcesModule.dicomweb',
      sourceName: 'pacs',
      configuration: {
        friendlyName: 'PACS',
        name: 'pacs',
        qidoRoot: '/dicom-web',
        wadoRoot: '/dicom-web',
        wadoUriRoot: '/wado',
        // The study list's descriptions come only when they are asked for.
        qidoSupportsIncludeField: true,
        supportsWildcard: true,
        supportsFuzzyMatching: false,
        supportsReject: false,
        imageRendering: 'wadors',
        thumbnailRendering: 'wadors',
        enableStudyLazyLoad: true,
        // transfer-syntax=*: frames come as they are stored (PS3.18 8.7.3.5.2); the browser decodes JPEG, JPEG-LS, JPEG 2000 and RLE itself.
        acceptHeader: ['multipart/related; type=application/octet-stream; transfer-syntax=*'],
        // Orthanc takes the media type of a multipart request without quotation marks only.
        omitQuotationForMultipartRequest: true,
        bulkDataURI: { enabled: true, relativeResolution: 'studies' },
        // Video plays from its own address, part by part. (All else that is no image is fetched whole.)
        singlepart: 'video',
        dicomUploadEnabled: true,
      },
    },
  ],

  httpErrorHandler: error => console.warn('The server answered with status', error?.status),
};
